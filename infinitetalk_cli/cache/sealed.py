"""Small JSON files that say of themselves whether they are as they were written."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from infinitetalk_cli.cache.files import write_text_atomic

Model = TypeVar("Model", bound=BaseModel)


def write_sealed(path: Path, record: BaseModel) -> None:
    """Write `record` with a checksum of itself, whole or not at all; the folder must be there."""
    plain = record.model_dump(mode="json")
    write_text_atomic(path, json.dumps({"sha256": _checksum(plain), "record": plain}, indent=1))


def read_sealed(path: Path, kind: type[Model]) -> Model | None:
    """What `write_sealed` wrote; None if it is not there, not readable, or not as it was written."""
    try:
        document = json.loads(path.read_bytes())
        if document["sha256"] != _checksum(document["record"]):
            return None
        return kind.model_validate_json(json.dumps(document["record"]))
    except (OSError, ValueError, KeyError, TypeError, ValidationError):
        return None


def _checksum(plain: Any) -> str:
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode("ascii")).hexdigest()
