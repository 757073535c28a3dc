"""Fixtures of the media tests."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from media_clips import clip_file  # noqa: F401
