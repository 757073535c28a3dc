"""`infinitetalk batch`: many jobs in one call, with failures, interruptions, other runs, and again."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import threading
import time
from pathlib import Path

import pytest
import synthetic
from synthetic import Clip

from infinitetalk_cli.batch import here, shelf
from infinitetalk_cli.cache.lock import hold_lock


@pytest.fixture
def season(tmp_path: Path, small_profile: Path) -> tuple[object, ...]:
    """Three short videos with voices, a list of them, and the arguments that dub them."""
    for index in range(3):
        synthetic.make_clip(tmp_path / f"v{index}.mp4", Clip(num_frames=15))
        synthetic.make_audio(tmp_path / f"v{index}.fr.wav", synthetic.speech(0.6, seed=index))
    rows = [f"v{index}.mp4,v{index}.fr.wav,{index}" for index in range(3)]
    (tmp_path / "jobs.csv").write_text("\n".join(("video,audio,seed", *rows)) + "\n")
    return "batch", tmp_path / "jobs.csv", "--profile", small_profile, "--no-report"


def states(document: dict) -> list[str]:
    return [job["status"] for job in document["jobs"]]


def test_all_jobs_with_one_model_and_again_none(season, tmp_path: Path, run_command, monkeypatch) -> None:
    loaded = []
    load = shelf.load_models
    monkeypatch.setattr(shelf, "load_models", lambda prepared: loaded.append(prepared) or load(prepared))
    first = run_command(*season, "--json")
    assert first.exit_code == 0 and states(first.document) == ["done"] * 3, first.stderr
    assert len(loaded) == 1
    again = run_command(*season, "--json")
    assert states(again.document) == ["already done"] * 3 and len(loaded) == 1
    single = run_command(
        "dub", tmp_path / "v1.mp4", "--audio", tmp_path / "v1.fr.wav", "--seed", "1", *season[2:], "-o",
        tmp_path / "single.mp4", "--cache-dir", tmp_path / "other", "--json",
    )  # fmt: skip
    assert single.exit_code == 0
    assert (tmp_path / "single.mp4").read_bytes() == (tmp_path / "v1.dubbed.mp4").read_bytes()


def test_other_model_settings_are_another_model(season, tmp_path: Path, run_command, monkeypatch) -> None:
    loaded = []
    load = shelf.load_models
    monkeypatch.setattr(shelf, "load_models", lambda prepared: loaded.append(prepared) or load(prepared))
    text = "- {video: v0.mp4, audio: v0.fr.wav}\n- {video: v1.mp4, audio: v1.fr.wav, dtype: bfloat16}\n"
    (tmp_path / "jobs.yaml").write_text(text)
    ended = run_command("batch", tmp_path / "jobs.yaml", *season[2:], "--json")
    assert ended.exit_code == 0, ended.stderr
    assert [prepared.job.profile.compute.dtype for prepared in loaded] == ["float32", "bfloat16"]


def test_a_failure_stops_nothing_and_is_listed(season, tmp_path: Path, run_command) -> None:
    (tmp_path / "v1.mp4").write_text("no video")
    ended = run_command(*season)
    assert ended.exit_code == 8 and "Traceback" not in ended.stderr
    assert "row 3" in ended.stdout and "3 jobs: 2 done, 1 failed" in ended.stdout
    synthetic.make_clip(tmp_path / "v1.mp4", Clip(num_frames=15))
    again = run_command(*season, "--json-lines", "--quiet")
    lines = [json.loads(line) for line in again.stdout.splitlines()]
    assert again.exit_code == 0 and [line["row"] for line in lines] == [2, 3, 4]
    assert [line["status"] for line in lines] == ["already done", "done", "already done"]


def test_fail_fast_stops_and_a_dry_run_tells_it_before(season, tmp_path: Path, run_command) -> None:
    (tmp_path / "v0.mp4").write_text("no video")
    plan = run_command(*season, "--dry-run", "--json")
    assert plan.exit_code == 8 and states(plan.document) == ["cannot run", "to do", "to do"]
    assert "generate" in plan.document["jobs"][1]["stages"] and plan.document["jobs"][0]["exit_code"] == 4
    assert not list(tmp_path.glob("*.dubbed.mp4"))
    ended = run_command(*season, "--fail-fast", "--json")
    assert ended.exit_code == 8 and states(ended.document) == ["failed", "not run", "not run"]
    assert ended.document["jobs"][0]["exit_code"] == 4


def test_shards_have_every_job_once(season, run_command) -> None:
    shards = [run_command(*season, "--shard", f"{number}/2", "--dry-run", "--json") for number in (1, 2)]
    assert [[job["row"] for job in shard.document["jobs"]] for shard in shards] == [[2, 4], [3]]
    assert run_command(*season, "--shard", "3/2").exit_code == 2


def test_a_wrong_list_is_refused_as_a_whole(season, tmp_path: Path, run_command) -> None:
    (tmp_path / "jobs.csv").write_text("video,audio,sede\nv0.mp4,v0.fr.wav,1\nv0.mp4,none.wav,1\n")
    ended = run_command(*season, "--json")
    assert ended.exit_code == 4 and not list(tmp_path.glob("*.dubbed.mp4"))
    error = ended.document["error"]
    assert "did you mean 'seed'" in error and "none.wav does not exist" in error and "same output as row 2" in error


def test_pairs_of_a_folder(season, tmp_path: Path, run_command) -> None:
    (tmp_path / "v2.fr.wav").rename(tmp_path / "w2.fr.wav")
    ended = run_command(
        "batch", "--pair-dir", tmp_path, "--audio-suffix", ".fr.wav", "-o", tmp_path / "out", *season[2:]
    )
    assert ended.exit_code == 0, ended.stderr
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["v0.fr.dubbed.mp4", "v1.fr.dubbed.mp4"]
    assert "v2.mp4: has no voice" in ended.stderr and "w2.fr.wav: has no video" in ended.stderr


def test_what_another_run_holds_is_left_to_it_or_done_at_the_end(season, tmp_path: Path, run_command) -> None:
    """The other run has the second result in hand, and ends without having put it in its place."""
    run_command(*season)
    output = tmp_path / "v1.dubbed.mp4"
    output.unlink()
    lock = tmp_path / "cache" / "locks" / f"output-{hashlib.sha256(os.fsencode(output)).hexdigest()[:32]}.lock"
    assert lock.is_file()
    holding, release = threading.Event(), threading.Event()

    def hold() -> None:
        with hold_lock(lock, "the second result"):
            holding.set()
            release.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    holding.wait()
    left = run_command(*season, "--no-wait", "--json")
    assert left.exit_code == 9 and states(left.document) == ["already done", "held by another run", "already done"]
    threading.Timer(1.5, release.set).start()
    done = run_command(*season, "--json")
    thread.join()
    assert done.exit_code == 0 and states(done.document) == ["already done", "done", "already done"], done.stderr


def test_a_stop_keeps_what_is_done_and_lists_the_rest(season, run_command, monkeypatch) -> None:
    do_job = here.do_job

    def stopped_in_the_second(job, *args):
        if job.number == 3:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(10)
        return do_job(job, *args)

    monkeypatch.setattr(here, "do_job", stopped_in_the_second)
    ended = run_command(*season, "--json")
    assert ended.exit_code == 130 and states(ended.document) == ["done", "stopped", "not run"]
    assert "run the same command again" in ended.stderr
    monkeypatch.setattr(here, "do_job", do_job)
    assert states(run_command(*season, "--json").document) == ["already done", "done", "done"]


def test_without_the_extra_the_engine_names_it(season, run_command, monkeypatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    ended = run_command(*season, "--engine", "ray")
    assert ended.exit_code == 5 and "pip install 'infinitetalk[ray]'" in ended.stderr


@pytest.mark.parametrize(
    "wrong",
    [
        ("--pair-dir", "."),
        ("--audio-suffix", ".wav"),
        ("--workers", "2", "--engine", "ray"),
        ("--address", "auto"),
        ("--json", "--json-lines"),
    ],
)
def test_options_that_have_no_effect_are_refused(season, run_command, wrong: tuple[str, ...]) -> None:
    assert run_command(*season, *wrong).exit_code == 2
