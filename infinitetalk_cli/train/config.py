"""Training configurations by name or path: `nano` is shipped, anything with a suffix or a folder is a file."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from infinitetalk_cli.config.explain import explain
from infinitetalk_cli.config.load import plain, profiles_dir
from infinitetalk_cli.config.source import read_layer
from infinitetalk_cli.errors import ProfileError
from infinitetalk_cli.train.settings import TrainSettings


def load_settings(name_or_path: str) -> TrainSettings:
    """The checked settings, or `ProfileError` naming every problem with file, line and key."""
    path = Path(name_or_path)
    if path.suffix not in (".yaml", ".yml") and path.name == name_or_path:
        path = profiles_dir() / "train" / f"{name_or_path}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in (profiles_dir() / "train").glob("*.yaml")))
        raise ProfileError(f"'{name_or_path}': no such training configuration; shipped: {known}; or a path to a file")
    layer = read_layer(path)
    problems = list(layer.problems)
    try:
        settings = TrainSettings.model_validate(plain(layer.root))
    except ValidationError as exc:
        problems += [explain(error, layer.root) for error in exc.errors(include_url=False)]
    if problems:
        raise ProfileError("\n".join(str(problem) for problem in problems))
    return settings
