"""`python -m infinitetalk_cli`: the same program as the `infinitetalk` command."""

from infinitetalk_cli.cli.app import main

if __name__ == "__main__":
    main()
