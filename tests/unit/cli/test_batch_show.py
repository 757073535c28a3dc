"""What is seen of a batch while it runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rich.console import Console

from infinitetalk_cli.batch.jobs import BatchJob, End, State
from infinitetalk_cli.cli.batch_show import LiveBatchReporter, PlainBatchReporter
from infinitetalk_cli.pipeline.request import DubRequest


def job(number: int, name: str = "long [bold]name of an episode.mp4") -> BatchJob:
    return BatchJob(
        number, f"row {number}", DubRequest(Path("in.mp4"), (Path("a.wav"),), Path("cache"), output=Path(name))
    )


def test_the_live_table_shows_what_ended_and_what_runs(monkeypatch: pytest.MonkeyPatch):
    console = Console(width=100, height=24, record=True, force_terminal=True, file=open("/dev/null", "w"))  # noqa: SIM115
    monkeypatch.setattr("infinitetalk_cli.cli.batch_show.stderr_console", lambda: console)
    with LiveBatchReporter(3, json_lines=False) as reporter:
        reporter.began(job(2), "worker 1")
        reporter.ended(job(2), End(2, State.FAILED, error="x" * 300, exit_code=4))
        reporter.began(job(3), "worker 2")
        reporter.moved(3, "generate 40 %")
        assert isinstance(reporter, LiveBatchReporter)
        console.print(reporter._table())
    shown = console.export_text()
    assert "1 of 3 jobs" in shown and "1 failed" in shown
    lines = [line.split() for line in shown.splitlines()]
    assert any(line[:4] == ["row", "2", "long", "[bold]name"] and "failed:" in line for line in lines)
    assert any(line[:2] == ["row", "3"] and "generate" in line and "40" in line for line in lines)


def test_plain_lines_say_each_note_once_and_json_lines_every_end(capsys: pytest.CaptureFixture[str]):
    reporter = PlainBatchReporter(2, json_lines=True)
    for number in (2, 3):
        reporter.began(job(number, f"{number}.mp4"), None)
        reporter.note(number, "profile nano")
        reporter.ended(job(number, f"{number}.mp4"), End(number, State.DONE, output=Path("o.mp4"), seconds=61.0))
    captured = capsys.readouterr()
    assert captured.err.splitlines() == [
        "note: profile nano", "[1/2] row 2 2.mp4: done in 1:01.0", "[2/2] row 3 3.mp4: done in 1:01.0",
    ]  # fmt: skip
    assert [json.loads(line)["row"] for line in captured.out.splitlines()] == [2, 3]
