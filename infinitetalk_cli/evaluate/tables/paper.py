"""The numbers printed in the paper's tables, as data (arXiv 2508.14033)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

NOTE = (
    "Paper: its list of clips, its frames and its settings for FID and FVD are not published, and a FID or FVD depends "
    "on all of them: those columns do not compare with ours. Sync-C and Sync-D nearly do, CSIM roughly (its model is "
    "not named)."
)
KEYS = {"FID": "fid.fid", "FVD": "fvd.fvd", "Sync-C": "sync.confidence", "Sync-D": "sync.distance", "CSIM": "csim.pair"}
"""The paper's columns and ours."""


@cache
def tables() -> Mapping[str, Any]:
    """All of `paper_tables.yaml`."""
    return yaml.safe_load(Path(__file__).with_name("paper_tables.yaml").read_text(encoding="utf-8"))


def rows_of(dataset: str, number: int) -> dict[str, dict[str, float]]:
    """Table 1 or 2 of a dataset: method -> our column key -> number; nothing for other datasets."""
    printed = tables()[f"table_{number}"]
    rows = printed["rows"].get(dataset, {})
    return {
        method: {KEYS[name]: value for name, value in zip(printed["columns"], values, strict=True)}
        for method, values in rows.items()
    }
