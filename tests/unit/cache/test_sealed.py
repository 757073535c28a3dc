"""Small records are read as they were written, or not at all."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import BaseModel

from infinitetalk_cli.cache.sealed import read_sealed, write_sealed


class Note(BaseModel):
    name: str
    share: float
    at: datetime
    inner: dict[str, int | None]


NOTE = Note(name="ü\u2028x", share=0.1, at=datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC), inner={"b": 1, "a": None})


def test_comes_back_equal(tmp_path: Path):
    write_sealed(tmp_path / "note.json", NOTE)
    assert read_sealed(tmp_path / "note.json", Note) == NOTE


def test_any_flipped_bit_is_noticed(tmp_path: Path):
    """Or means nothing: a bit of white space between the words."""
    path = tmp_path / "note.json"
    write_sealed(path, NOTE)
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert read_sealed(path, Note) in (None, NOTE)


@pytest.mark.parametrize("text", [None, "", "{", "[]", "null", '{"sha256": "", "record": {}}', '{"record": {}}'])
def test_anything_else_is_nothing(tmp_path: Path, text: str | None):
    path = tmp_path / "note.json"
    if text is not None:
        path.write_text(text)
    assert read_sealed(path, Note) is None
