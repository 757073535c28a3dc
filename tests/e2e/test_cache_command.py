"""`infinitetalk cache`, and what a job does with what it finds there."""

from __future__ import annotations

import io
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import synthetic
from synthetic import Clip

from infinitetalk_cli.cache.sealed import write_sealed
from infinitetalk_cli.errors import OutputError, ResourceError
from infinitetalk_cli.pipeline import jobs, preparing, pruning
from infinitetalk_cli.pipeline.delivery import Destination

Job = list[object]
DEADLINE_S = 180


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, run_command_in) -> Path:
    """The sources of a job of five chunks, its profile, and a cache in which it is finished."""
    folder = tmp_path_factory.mktemp("made")
    synthetic.make_clip(folder / "source.mp4", Clip(num_frames=60))
    synthetic.make_audio(folder / "voice.wav", synthetic.speech(2.5))
    (folder / "small.yaml").write_text(
        "extends: nano\ngeometry: {area_px: 4096}\nchunks: {num_frames: 17, context_frames: 5}\n"
        "sampling: {num_steps: 2, audio_guidance_scale: 1.0}\nquality: {max_attempts: 1}\n"
    )
    done = run_command_in(*command_for(folder), "--cache-dir", folder / "cache", "-o", folder / "out.mp4")
    assert done.exit_code == 0, done.stderr
    return folder


def command_for(folder: Path) -> Job:
    return [
        "dub", folder / "source.mp4", "--audio", folder / "voice.wav", "--profile", folder / "small.yaml", "--json",
        "--no-report",
    ]  # fmt: skip


def started(job: Job, cache: Path, output: Path) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-m", "infinitetalk_cli", *job, "--cache-dir", cache, "-o", output]
    return subprocess.Popen(list(map(str, words)), stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@pytest.fixture
def job(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Job:
    """The command line of the job, with an output of its own and tables that are not wrapped."""
    monkeypatch.setenv("COLUMNS", "200")
    return [*command_for(made), "-o", tmp_path / "out.mp4"]


@pytest.fixture
def done(made: Path, tmp_path: Path) -> Path:
    """A cache in which the job is finished; its output stands elsewhere."""
    return shutil.copytree(made / "cache", tmp_path / "cache", copy_function=shutil.copy2)


def flip(path: Path) -> None:
    """Turn a bit in the middle of the file, and leave its size and time stamp as they were."""
    stat, data = path.stat(), bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def chunks(cache: Path) -> list[Path]:
    return sorted(cache.glob("generate/*/chunks/chunk-*.mkv"))


def reasons(outcome) -> dict[str, list[str]]:
    return {stage["name"]: stage["reasons"] for stage in outcome.document["stages"] if stage["state"] != "done"}


def test_list_and_show_tell_of_jobs_and_count_what_they_share_once(
    job: Job, made: Path, tmp_path: Path, run_command
) -> None:
    assert run_command("cache", "list", "--json").document["jobs"] == []
    shutil.copytree(made / "cache", tmp_path / "cache", copy_function=shutil.copy2)
    run_command(*job, "--quality", "30")
    listed = run_command("cache", "list", "--json").document
    sizes, shared = ([entry[key] for entry in listed["jobs"]] for key in ("bytes", "shared_bytes"))
    assert [entry["state"] for entry in listed["jobs"]] == ["done", "done"]
    assert shared[0] == shared[1] > 0 and sum(sizes) - shared[0] == listed["bytes"]
    assert {Path(source["path"]).name for source in listed["jobs"][0]["sources"]} == {"source.mp4", "voice.wav"}
    assert listed["unknown"] == []
    plain = run_command("cache", "list").stdout
    assert "source.mp4 + voice.wav" in plain and listed["jobs"][0]["job"][:8] in plain

    shown = run_command("cache", "show", tmp_path / "out.mp4", "--json").document
    assert shown["job"] == listed["jobs"][0]["job"] and shown["chunks_done"] == shown["chunks"] == 5
    assert {stage["next"] for stage in shown["stages"]} == {"keep"}
    remux = next(stage for stage in shown["stages"] if stage["name"] == "remux")
    assert remux["settings"]["encode"]["quality"] == 30
    assert run_command("cache", "show", shown["job"][:12]).stdout.startswith(f"job {shown['job']}")
    assert run_command("cache", "show", "nothing").exit_code == 4


def test_interrupted_job_is_listed_with_its_chunks_and_pruned_only_on_demand(
    job: Job, made: Path, tmp_path: Path, run_command
) -> None:
    cache = tmp_path / "cache"
    process = started(command_for(made), cache, tmp_path / "out.mp4")
    deadline = time.monotonic() + DEADLINE_S
    while len(chunks(cache)) < 3:
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.005)
    running = run_command("cache", "list", "--json").document["jobs"][0]
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert running["state"] == "running"
    listed = run_command("cache", "list", "--json").document["jobs"][0]
    assert listed["state"] == "resumable" and listed["chunks"] == 5 and 2 <= listed["chunks_done"] <= 5
    assert f"resumable {listed['chunks_done']}/5" in run_command("cache", "list").stdout
    shown = run_command("cache", "show", made / "source.mp4", "--json").document
    assert next(stage["next"] for stage in shown["stages"] if stage["name"] == "generate").startswith(
        "go on with chunk"
    )

    kept = run_command("cache", "prune", "--max-size", "0", "--json").document
    assert kept["removed"] == [] and kept["resumable_bytes"] == kept["left_bytes"] > 0
    planned = run_command("cache", "prune", "--max-size", "0", "--unfinished", "--dry-run", "--json").document
    assert planned["left_bytes"] == 0 and chunks(cache)
    assert run_command("cache", "prune", "--max-size", "0", "--unfinished", "--json").document["left_bytes"] == 0
    assert not chunks(cache) and run_command("cache", "list", "--json").document["jobs"] == []


def test_chunks_of_a_job_that_could_not_hand_over_its_result_stay(
    job: Job, done: Path, tmp_path: Path, run_command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The output's disk is full after a night: making room in the cache must not cost the night."""

    def refuse(*_: object) -> None:
        raise ResourceError("no space left on the disk")

    with monkeypatch.context() as patch:
        patch.setattr(Destination, "deliver", refuse)
        assert run_command(*job).exit_code == 6
    assert "resumable 5/5" in run_command("cache", "list").stdout
    kept = run_command("cache", "prune", "--max-size", "0", "--json").document
    assert kept["removed"] == [] and len(chunks(done)) == 5
    assert run_command(*job).exit_code == 0
    assert run_command("cache", "prune", "--max-size", "0", "--json").document["left_bytes"] == 0


@pytest.mark.parametrize("answer", ["n\n", ""])
def test_clear_takes_nothing_without_a_yes(
    answer: str, done: Path, run_command, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    refused = run_command("cache", "clear")
    assert refused.exit_code == 0 and refused.stdout.endswith("nothing was removed\n")
    assert len(chunks(done)) == 5


def test_clear_asks_and_keeps_weights_and_receipts(job: Job, done: Path, tmp_path: Path, run_command) -> None:
    run_command(*job)
    weights = done / "weights" / "model.safetensors"
    weights.parent.mkdir()
    weights.write_text("weights")
    assert run_command("cache", "clear").exit_code == 2, "nobody is there to answer"
    assert run_command("cache", "list", "--json").document["bytes"] > 0
    cleared = run_command("cache", "clear", "--yes")
    assert cleared.exit_code == 0 and "weights" in cleared.stdout
    assert weights.read_text() == "weights" and not list((done / "jobs").iterdir())
    assert run_command("cache", "list", "--json").document["bytes"] == 0
    assert run_command(*job).document["status"] == "already done", "the receipt was kept"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--max-size", "big"], "is not a size"),
        (["--older-than", "old"], "is not an age"),
        ([], "say what may go"),
    ],
)
def test_prune_wants_to_know_what_may_go(words: list[str], says: str, run_command) -> None:
    refused = run_command("cache", "prune", *words)
    assert refused.exit_code == 2 and says in refused.stderr


def test_size_is_kept_after_a_job_and_the_oldest_goes_first(job: Job, done: Path, tmp_path: Path, run_command) -> None:
    old = next((done / "remux").iterdir())
    limit = run_command("cache", "list", "--json").document["bytes"] + 1000
    for entry in done.glob("*/*/done.json"):
        os.utime(entry, (1e9, 1e9))
    second = run_command(*job, "--quality", "30", "--cache-size", f"{limit}B")
    assert second.exit_code == 0 and "removed" in second.stderr and "to keep it to" in second.stderr
    assert not old.exists(), "the only entry that the second job did not use"
    listed = run_command("cache", "list", "--json").document
    assert listed["bytes"] <= limit
    assert {stage["state"] for stage in listed["jobs"][0]["stages"]} == {"finished"}
    assert run_command(*job, "--cache-size", "many").exit_code == 2


def test_a_job_that_is_handed_over_is_done_whatever_becomes_of_the_cache(
    job: Job, done: Path, run_command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, *_others: object) -> None:
        raise OutputError(f"{path}: cannot be written")

    def refuse_finished(path: Path, record: jobs.JobRecord) -> None:
        write_sealed(path, record) if record.finished_at is None else refuse(path)

    monkeypatch.setattr(jobs, "write_sealed", refuse_finished)
    monkeypatch.setattr(pruning, "prune", lambda store, *_others, **_options: refuse(store.root))
    ended = run_command(*job, "--quality", "30", "--cache-size", "1KB")
    assert ended.exit_code == 0, ended.stderr
    assert "still listed as unfinished" in ended.stderr and "the cache is not kept to" in ended.stderr


@pytest.mark.parametrize(
    "victim", ["generate/*/chunks/chunk-000002.mkv", "keyframes/*/plan.json", "demux/*/timeline.npz"]
)
def test_a_bit_that_flipped_unnoticed_is_repaired_before_it_is_read(
    victim: str, job: Job, done: Path, made: Path, tmp_path: Path, run_command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under an unchanged time stamp. `remux` reads all three; made again from sound files it is the same result."""
    monkeypatch.setattr("infinitetalk_cli.cache.store.ALWAYS_HASHED_BYTES", 0)  # as if all files were large
    path = next(done.glob(victim))
    next((done / "remux").iterdir()).rename(tmp_path / "result to be made again")
    flip(path)
    shown = run_command("cache", "show", made / "source.mp4", "--verify", "--json").document
    assert [stage["damaged"] for stage in shown["stages"] if stage["damaged"]] == [[victim.split("/", 2)[2]]]
    again = run_command(*job)
    assert again.exit_code == 0 and f"{path} is damaged" in again.stderr, again.stderr
    made_again = {stage["name"] for stage in again.document["stages"] if not stage["reused"]}
    assert made_again == {"remux", path.relative_to(done).parts[0]}
    assert (tmp_path / "out.mp4").read_bytes() == (made / "out.mp4").read_bytes()
    assert not run_command("cache", "show", made / "source.mp4", "--verify", "--json").document["stages"][0]["damaged"]


def test_a_damaged_result_is_made_again_before_it_is_handed_over(
    job: Job, done: Path, made: Path, tmp_path: Path, run_command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infinitetalk_cli.cache.store.ALWAYS_HASHED_BYTES", 0)
    flip(next(done.glob("remux/*/dubbed")))
    again = run_command(*job)
    assert again.exit_code == 0 and "damaged" in again.stderr
    assert (tmp_path / "out.mp4").read_bytes() == (made / "out.mp4").read_bytes()


def test_what_nobody_reads_is_not_made_again(job: Job, done: Path, tmp_path: Path, run_command) -> None:
    """The chunks were pruned, the result is still cached: it is handed over without a chunk being generated."""
    for name in ("generate", "demux"):
        next((done / name).iterdir()).rename(tmp_path / name)
    again = run_command(*job)
    assert again.exit_code == 0 and (tmp_path / "out.mp4").is_file(), again.stderr
    assert all(stage["reused"] for stage in again.document["stages"]) and not chunks(done)


@pytest.mark.parametrize("options", [[], ["--quality", "30"]])
def test_dry_run_counts_what_a_run_makes(options: list[str], job: Job, done: Path, tmp_path: Path, run_command) -> None:
    """The chunks and the plan of the scenes were pruned: the one is missed only where the result is written again."""
    for name in ("generate", "scenes"):
        next((done / name).iterdir()).rename(tmp_path / name)
    shutil.copytree(done, tmp_path / "looked at", copy_function=shutil.copy2)
    plan = run_command(*job, *options, "--cache-dir", tmp_path / "looked at", "--dry-run").document
    states = {stage["name"]: stage["state"] for stage in plan["stages"]}
    made = [stage["name"] for stage in run_command(*job, *options).document["stages"] if not stage["reused"]]
    assert [name for name, state in states.items() if state == "to do"] == made
    assert (states["generate"] == "not needed") == (not options) == (plan["num_chunks_left"] == 0)
    assert {part["stage"] for part in plan["disk"]["parts"]} <= set(made)
    assert (plan["memory"] is None) == (not options)


def test_dry_run_without_the_cache_counts_everything(job: Job, done: Path, run_command) -> None:
    plan = run_command(*job, "--no-cache", "--dry-run").document
    assert {stage["state"] for stage in plan["stages"]} == {"to do"}
    assert (plan["num_chunks_done"], plan["num_chunks_left"]) == (0, plan["num_chunks"])


def test_dry_run_says_why(job: Job, done: Path, run_command) -> None:
    seeded = reasons(run_command(*job, "--seed", "7", "--dry-run"))
    assert seeded["generate"] == ["sampling.seed 42 -> 7"]
    shorter = reasons(run_command(*job, "--end", "1", "--dry-run"))
    assert shorter["audio_embedding"] == ["clip.end_s none -> 1"]
    assert shorter["generate"] == ["what it reads changes: audio_embedding, keyframes"]
    table = run_command(*[word for word in job if word != "--json"], "--seed", "7", "--dry-run").stdout
    assert "because" in table and "sampling.seed 42 -> 7" in table
    assert "because" not in run_command(*[word for word in job if word != "--json"], "--dry-run").stdout
    assert reasons(run_command(*job, "--cache-dir", done / "empty", "--dry-run"))["generate"] == []


def test_dry_run_tells_of_changed_files_newer_stages_and_what_was_removed(
    job: Job, done: Path, tmp_path: Path, run_command, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_command(*job)
    voice = tmp_path / "voice.wav"
    shutil.copyfile(job[3], voice)
    elsewhere = [voice if word == job[3] else word for word in job]
    assert reasons(run_command(*elsewhere, "--dry-run")) == {}, "files count by content"
    run_command(*elsewhere, "--quality", "30", "--force")
    synthetic.make_audio(voice, synthetic.speech(2.5, seed=5))
    changed = reasons(run_command(*elsewhere, "--quality", "30", "--force", "--dry-run"))
    assert changed["audio_embedding"] == ["voice.wav changed"] and "demux" not in changed

    newer = [replace(step, version=step.version + 1) if step.name == "generate" else step for step in preparing.STAGES]
    version = next(step.version for step in preparing.STAGES if step.name == "generate")
    with monkeypatch.context() as patch:
        patch.setattr(preparing, "STAGES", newer)
        sentence = f"infinitetalk's generate stage is newer ({version} -> {version + 1})"
        assert reasons(run_command(*job, "--quality", "30", "--force", "--dry-run"))["generate"] == [sentence]
    next((done / "keyframes").iterdir()).rename(tmp_path / "gone")
    removed = reasons(run_command(*job, "--quality", "30", "--force", "--dry-run"))
    assert removed == {"keyframes": ["it is no longer in the cache"]}


def test_forecast_of_the_disk_is_about_right(job: Job, done: Path, tmp_path: Path, run_command) -> None:
    planned = run_command(*job, "--cache-dir", tmp_path / "empty", "--dry-run").document["disk"]
    parts = {part["stage"]: part["num_bytes"] for part in planned["parts"]}
    for stage in ("audio_embedding", "generate", "remux"):
        real = sum(path.stat().st_size for path in (done / stage).rglob("*") if path.is_file())
        assert real / 3 < parts[stage] < real * 3, (stage, parts[stage], real)
    assert planned["state"] == "fits" and planned["cache_bytes"] == sum(parts.values())
    left = run_command(*job, "--dry-run").document["disk"]
    assert left["cache_bytes"] == 0 and left["output_bytes"] > 0, "only the copy at the output is missing"
    run_command(*job)
    assert run_command(*job, "--dry-run").document["disk"]["output_bytes"] == 0


def test_a_job_for_which_the_disk_is_too_small_is_not_begun(
    job: Job, tmp_path: Path, run_command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    refused = run_command(*job)
    assert refused.exit_code == 6 and "--ignore-disk" in refused.stderr and "1.0 kB free" in refused.stderr
    assert not (tmp_path / "cache" / "generate").exists()
    assert run_command(*job, "--dry-run").document["disk"]["state"] == "too much"
