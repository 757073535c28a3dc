"""Where a study may be made, and options that would count for nothing: said before anything is encoded."""

from __future__ import annotations

from pathlib import Path

import pytest

from infinitetalk_cli.errors import InputError, OutputError
from infinitetalk_cli.evaluate.study.make import make_study
from infinitetalk_cli.progress import SilentProgress


@pytest.fixture
def methods(tmp_path: Path) -> dict[str, Path]:
    for name in ("ours", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.mp4").touch()
    return {name: tmp_path / name for name in ("ours", "other")}


def test_a_study_takes_nobodys_place(tmp_path: Path, methods: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    (tmp_path / "s-key.json").write_text("{}")
    for out, said in (
        (Path("."), "a folder of its own"),
        (tmp_path / "file", "is a file"),
        (tmp_path / "ours", "is not empty"),
        (tmp_path / "s", "the key of another study"),
    ):
        with pytest.raises(OutputError, match=said):
            make_study(methods, out, SilentProgress())
    assert (tmp_path / "s-key.json").read_text() == "{}"


def test_copies_that_are_not_there_are_said(tmp_path: Path, methods: dict[str, Path]) -> None:
    with pytest.raises(InputError, match=r"--copies holds no a\.mp4"):
        make_study(methods, tmp_path / "study", SilentProgress(), copies=tmp_path / "nowhere")
    assert not (tmp_path / "study").exists()
