"""InfiniteTalk: sparse-frame video dubbing from the command line."""

__version__ = "0.1.0"
