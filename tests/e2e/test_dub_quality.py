"""Chunks that fail the checks are drawn again, the best is kept, and the report beside the result tells."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import synthetic
import torch
from synthetic import Clip

from infinitetalk_cli.models import streaming
from infinitetalk_cli.pipeline.report.files import is_own, report_paths
from infinitetalk_cli.stages.snapshots import Snapshots

GENERATE, BEGIN = streaming.generate_chunk, Snapshots.of
Spoil = Callable[[int, int, torch.Tensor], torch.Tensor]


@pytest.fixture
def job(tmp_path: Path, small_profile: Path) -> list[object]:
    """Three chunks."""
    source = synthetic.make_clip(tmp_path / "source.mp4", Clip(num_frames=40))
    voice = synthetic.make_audio(tmp_path / "voice.wav", synthetic.speech(1.6))
    return ["dub", source, "--audio", voice, "--profile", small_profile, "-o", tmp_path / "out.mp4", "--json"]


@pytest.fixture
def spoil(monkeypatch: pytest.MonkeyPatch) -> Callable[[Spoil], list[tuple[int, int]]]:
    """Let a function have a say in what the sampler makes of (chunk, attempt); returns which were asked for."""

    def install(change: Spoil) -> list[tuple[int, int]]:
        asked: list[tuple[int, int]] = []

        def begin(self, chunk, attempt):
            asked.append((chunk, attempt))
            return BEGIN(self, chunk, attempt)

        monkeypatch.setattr(Snapshots, "of", begin)
        monkeypatch.setattr(streaming, "generate_chunk", lambda *given: change(*asked[-1], GENERATE(*given)))
        return asked

    return install


def black(pixels: torch.Tensor) -> torch.Tensor:
    return torch.full_like(pixels, -1.0)


def report_of(tmp_path: Path) -> dict:
    return json.loads((tmp_path / "out.report.json").read_text())


def chunk_files(cache: Path) -> dict[str, bytes]:
    """What the generate stage keeps, without times."""
    files = (path for path in cache.glob("generate/*/**/*") if path.is_file() and "committed" not in path.name)
    return {path.name: path.read_bytes() for path in files if path.name != "done.json"}


def test_bad_attempt_is_drawn_again(job: list[object], tmp_path: Path, run_command, spoil) -> None:
    asked = spoil(lambda chunk, attempt, pixels: black(pixels) if (chunk, attempt) == (1, 0) else pixels)
    outcome = run_command(*job)
    assert outcome.exit_code == 0 and outcome.document["flagged_chunks"] == 0, outcome.stderr
    assert asked == [(0, 0), (1, 0), (1, 1), (2, 0)]
    assert "did not pass" not in outcome.stderr
    first, again, last = report_of(tmp_path)["chunks"]
    assert (first["attempt"], again["attempt"], last["attempt"]) == (0, 1, 0)
    assert "black" in again["attempts"][0]["reasons"][0] and again["reasons"] == [] and not again["flagged"]
    assert report_of(tmp_path)["summary"]["num_drawn_again"] == 1
    assert "attempt 2" in (tmp_path / "out.report.html").read_text()
    assert not list((tmp_path / "cache").glob("generate/*/attempts")), "what failed is not kept"


def test_another_attempt_has_other_noise(job: list[object], tmp_path: Path, run_command, spoil) -> None:
    assert run_command(*job).exit_code == 0
    plain = chunk_files(tmp_path / "cache")
    spoil(lambda chunk, attempt, pixels: black(pixels) if (chunk, attempt) == (0, 0) else pixels)
    assert run_command(*job, "--no-cache").exit_code == 0
    assert chunk_files(tmp_path / "cache")["chunk-000000.mkv"] != plain["chunk-000000.mkv"]


def test_after_the_budget_the_best_is_kept_and_flagged(job: list[object], tmp_path: Path, run_command, spoil) -> None:
    def change(chunk: int, attempt: int, pixels: torch.Tensor) -> torch.Tensor:
        if chunk != 2:
            return pixels
        return (pixels + 1.0).clamp(-1, 1) if attempt == 0 else black(pixels)

    spoil(change)
    outcome = run_command(*[word for word in job if word != "--json"])
    assert outcome.exit_code == 0, outcome.stderr
    assert "1 chunk did not pass the checks" in outcome.stderr and "out.report.html" in outcome.stderr
    assert outcome.stdout.strip() == str(tmp_path / "out.mp4")
    flagged = report_of(tmp_path)["chunks"][2]
    assert flagged["attempt"] == 0 and flagged["flagged"] and "colours" in flagged["reasons"][0]
    assert "flagged" in (tmp_path / "out.report.html").read_text()
    again = run_command(*job)
    assert again.document["status"] == "already done" and again.document["flagged_chunks"] == 1
    assert again.document["report"] == str(tmp_path / "out.report.html")


def test_budget_and_gates_are_settings(
    job: list[object], small_profile: Path, tmp_path: Path, run_command, spoil
) -> None:
    text = small_profile.read_text()
    asked = spoil(lambda chunk, attempt, pixels: black(pixels) if chunk == 0 else pixels)
    small_profile.write_text(f"{text}quality: {{max_attempts: 3}}\n")
    assert run_command(*job).exit_code == 0
    assert asked[:3] == [(0, 0), (0, 1), (0, 2)] and asked[3][0] == 1
    asked.clear()
    small_profile.write_text(f"{text}quality: {{gates: false}}\n")
    assert run_command(*job).exit_code == 0
    assert asked == [(0, 0), (1, 0), (2, 0)]
    assert "switched off" in report_of(tmp_path)["summary"]["not_checked"][0]
    page = (tmp_path / "out.report.html").read_text()
    assert page.count(">not checked<") == 3 and ">passed<" not in page


def test_no_numbers_are_drawn_again_and_end_the_run_at_last(
    job: list[object], tmp_path: Path, run_command, spoil
) -> None:
    nan = float("nan")
    spoil(lambda chunk, attempt, pixels: pixels * nan if chunk == 1 else pixels)
    outcome = run_command(*job)
    assert outcome.exit_code == 5 and "chunk 2: the model made no picture" in outcome.stderr
    asked = spoil(lambda chunk, attempt, pixels: pixels * nan if (chunk, attempt) == (1, 0) else pixels)
    assert run_command(*job).exit_code == 0
    assert asked == [(1, 0), (1, 1), (2, 0)], "the first chunk was done, the failed attempts do not count any more"
    attempts = report_of(tmp_path)["chunks"][1]["attempts"]
    assert "NaN" in attempts[0]["reasons"][0] and attempts[0]["measures"] is None


KILLED_IN_THE_SECOND_ATTEMPT = """
import os, signal, sys
import torch
from infinitetalk_cli.models import streaming
from infinitetalk_cli.stages.snapshots import Snapshots
generate, begin, now = streaming.generate_chunk, Snapshots.of, []
def of(self, chunk, attempt):
    now[:] = (chunk, attempt)
    if now == [1, 1]:
        os.kill(os.getpid(), signal.SIGKILL)
    return begin(self, chunk, attempt)
def generate_chunk(*given):
    pixels = generate(*given)
    return torch.full_like(pixels, -1.0) if now == [1, 0] else pixels
Snapshots.of, streaming.generate_chunk = of, generate_chunk
from infinitetalk_cli.cli.app import main
main()
"""


def test_killed_in_the_second_attempt_resumes_to_the_same(
    job: list[object], tmp_path: Path, run_command, spoil
) -> None:
    command = [sys.executable, "-c", KILLED_IN_THE_SECOND_ATTEMPT, *map(str, job), "--cache-dir", tmp_path / "cache"]
    killed = subprocess.run(command, capture_output=True, timeout=120)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert list((tmp_path / "cache").glob("generate/*/attempts/chunk-000001-0.mkv")), "the failed attempt is kept"
    asked = spoil(lambda chunk, attempt, pixels: black(pixels) if (chunk, attempt) == (1, 0) else pixels)
    assert run_command(*job).exit_code == 0
    assert asked == [(1, 1), (2, 0)], "the first attempt was made again"
    broken, resumed = chunk_files(tmp_path / "cache"), (tmp_path / "out.mp4").read_bytes()
    assert run_command(*job, "--no-cache").exit_code == 0
    assert chunk_files(tmp_path / "cache") == broken
    assert (tmp_path / "out.mp4").read_bytes() == resumed


def test_chunk_without_its_record_is_made_again(job: list[object], tmp_path: Path, run_command, spoil) -> None:
    assert run_command(*job).exit_code == 0
    (record,) = (tmp_path / "cache").glob("generate/*/chunks/chunk-000001.json")
    before = record.read_bytes()
    record.write_bytes(before.replace(b'"attempt": 0', b'"attempt": 1', 1))
    asked = spoil(lambda chunk, attempt, pixels: pixels)
    assert run_command(*job, "--quality", "30").exit_code == 0
    assert asked == [(1, 0), (2, 0)]
    assert record.read_bytes() == before


def test_report_tells_of_the_run(job: list[object], tmp_path: Path, run_command) -> None:
    outcome = run_command(*job)
    assert outcome.document["report"] == str(tmp_path / "out.report.html")
    report = report_of(tmp_path)
    assert report["output"] == "out.mp4" and report["sources"]["source_video"]["file"] == "source.mp4"
    assert [stage["name"] for stage in report["stages"]][-2:] == ["inspect", "remux"]
    assert report["summary"]["num_chunks"] == 3 == len(report["chunks"])
    assert [chunk["stop_s"] for chunk in report["chunks"]] == [0.68, 1.16, 1.6]
    assert report["chunks"][1]["attempts"][0]["measures"]["seam"] > 0
    (minute,) = report["drift"]["minutes"]
    assert minute["num_samples"] == 2 and minute["delta_e"] < 20 and 0 < minute["likeness"] <= 1
    assert report["profile"]["name"] == "small"
    page = (tmp_path / "out.report.html").read_text()
    assert page.count('src="data:image/webp;base64,') == 3 and page.count("<svg") == 2
    assert "<script" not in page and "http" not in page


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_report_on_a_name_that_is_no_text(job: list[object], tmp_path: Path, run_command) -> None:
    output = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff <b>.mp4"))
    job[job.index("-o") + 1] = output
    outcome = run_command(*job)
    assert outcome.exit_code == 0 and output.is_file(), outcome.stderr
    data, page = report_paths(output)
    assert json.loads(data.read_text())["output"] == output.name and is_own(data) and is_own(page)
    assert "<h1>? &lt;b&gt;.mp4</h1>" in page.read_text()
    again = run_command(*job).document
    assert (again["status"], again["report"]) == ("already done", str(page))


def test_report_of_somebody_else_is_left_alone(job: list[object], tmp_path: Path, run_command) -> None:
    page, data = tmp_path / "out.report.html", tmp_path / "out.report.json"
    page.write_text("somebody's notes")
    outcome = run_command(*job)
    assert outcome.exit_code == 0 and outcome.document["report"] is None
    assert "no report is written" in outcome.stderr
    assert page.read_text() == "somebody's notes" and not data.exists() and (tmp_path / "out.mp4").exists()
    page.unlink()
    assert run_command(*job, "--seed", "3").document["report"] is not None
    assert is_own(page) and is_own(data)
    first = data.read_bytes()
    assert run_command(*job, "--seed", "4").document["report"] is not None
    assert data.read_bytes() != first and is_own(data), "our own is replaced"
    data.write_text(data.read_text().replace("source.mp4", "film.mp4"))
    assert not is_own(data)
    edited = data.read_bytes()
    outcome = run_command(*job, "--seed", "5")
    assert outcome.exit_code == 0 and outcome.document["report"] is None and data.read_bytes() == edited


def test_no_report_on_request(job: list[object], tmp_path: Path, run_command) -> None:
    outcome = run_command(*job, "--no-report")
    assert outcome.exit_code == 0 and outcome.document["report"] is None, outcome.stderr
    assert not list(tmp_path.glob("out.report.*"))
    assert "inspect" not in [stage["name"] for stage in outcome.document["stages"]]


def test_kept_stretches_count_as_the_sources_own(job: list[object], tmp_path: Path, run_command) -> None:
    import numpy as np

    synthetic.make_clip(tmp_path / "source.mp4", Clip(num_frames=150))
    pause = np.concatenate([synthetic.speech(1.5), synthetic.silence(4.5)])
    synthetic.make_audio(tmp_path / "voice.wav", pause)
    assert run_command(*job, "--only-speech").exit_code == 0
    (minute,) = report_of(tmp_path)["drift"]["minutes"]
    assert minute["num_samples"] == 6 and 2 <= minute["num_kept"] < 6
    assert (
        "source&#x27;s own" in (tmp_path / "out.report.html").read_text()
        or "source's own" in (tmp_path / "out.report.html").read_text()
    )
