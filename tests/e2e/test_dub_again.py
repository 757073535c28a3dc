"""Running the same command again: what is done is not done twice, and nobody's file is overwritten."""

from __future__ import annotations

from pathlib import Path

import pytest
import synthetic
from synthetic import Clip


@pytest.fixture
def job(tmp_path: Path, small_profile: Path) -> list[object]:
    source = synthetic.make_clip(tmp_path / "source.mp4", Clip(num_frames=25))
    voice = synthetic.make_audio(tmp_path / "voice.wav", synthetic.speech(1.0))
    return ["dub", source, "--audio", voice, "--profile", small_profile, "--json"]


def reused(outcome) -> dict[str, bool]:
    return {stage["name"]: stage["reused"] for stage in outcome.document["stages"]}


def test_finished_job_says_so(job: list[object], tmp_path: Path, run_command) -> None:
    first = run_command(*job)
    assert first.exit_code == 0 and first.document["status"] == "done", first.stderr
    written = (tmp_path / "source.dubbed.mp4").stat().st_mtime_ns
    again = run_command(*job)
    assert again.exit_code == 0 and again.document["status"] == "already done"
    assert (tmp_path / "source.dubbed.mp4").stat().st_mtime_ns == written


def test_output_option_reruns_only_remux(job: list[object], run_command) -> None:
    run_command(*job)
    outcome = run_command(*job, "--quality", "30")
    assert outcome.exit_code == 0, outcome.stderr
    assert [name for name, was_reused in reused(outcome).items() if not was_reused] == ["remux"]


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        (["--seed", "7"], ["generate", "inspect", "remux"]),
        (["--end", "0.8"], ["scenes", "audio_embedding", "keyframes", "generate", "inspect", "remux"]),
    ],
)
def test_option_reruns_what_depends_on_it(
    option: list[str], expected: list[str], job: list[object], run_command
) -> None:
    run_command(*job)
    outcome = run_command(*job, *option)
    assert [name for name, was_reused in reused(outcome).items() if not was_reused] == expected


def test_changed_content_under_the_same_name_is_noticed(job: list[object], tmp_path: Path, run_command) -> None:
    run_command(*job)
    synthetic.make_audio(tmp_path / "voice.wav", synthetic.speech(1.0, seed=5))
    outcome = run_command(*job)
    assert reused(outcome) == {
        "demux": True, "scenes": True, "audio_embedding": False, "keyframes": False, "generate": False,
        "inspect": False, "remux": False,
    }  # fmt: skip


def test_name_too_long_for_the_disk_is_refused_before_the_work(job: list[object], tmp_path: Path, run_command) -> None:
    """The file would still go, but not the one beside it that becomes it."""
    refused = run_command(*job, "-o", tmp_path / f"{'n' * 240}.mp4")
    assert refused.exit_code == 7 and "too long" in refused.stderr
    assert not (tmp_path / "cache" / "generate").exists()


def test_foreign_or_changed_output_is_never_overwritten(job: list[object], tmp_path: Path, run_command) -> None:
    output = tmp_path / "source.dubbed.mp4"
    output.write_text("somebody's work")
    refused = run_command(*job)
    assert refused.exit_code == 7 and "--force" in refused.stderr
    assert output.read_text() == "somebody's work"
    assert run_command(*job, "--force").exit_code == 0
    with output.open("ab") as file:
        file.write(b"edited")
    assert run_command(*job, "--seed", "3").exit_code == 7


def test_no_cache_makes_the_same_again(job: list[object], tmp_path: Path, run_command) -> None:
    run_command(*job)
    before = (tmp_path / "source.dubbed.mp4").read_bytes()
    outcome = run_command(*job, "--no-cache")
    assert outcome.exit_code == 0 and not any(reused(outcome).values()), outcome.stderr
    assert (tmp_path / "source.dubbed.mp4").read_bytes() == before


def test_dry_run_shows_the_plan_and_does_nothing(job: list[object], tmp_path: Path, run_command) -> None:
    plan = run_command(*job, "--dry-run").document
    assert plan["num_chunks"] == 2 and plan["num_frames"] == 25 and plan["num_chunks_done"] == 0
    assert {stage["state"] for stage in plan["stages"]} == {"to do"}
    assert plan["memory"]["state"] == "fits" and plan["memory"]["host_bytes"] > 1e8
    assert not (tmp_path / "source.dubbed.mp4").exists()
    run_command(*job)
    plan = run_command(*job, "--dry-run").document
    assert {stage["state"] for stage in plan["stages"]} == {"done"} and plan["num_chunks_done"] == 2


def test_dry_run_makes_no_folder_for_the_result(job: list[object], tmp_path: Path, run_command) -> None:
    assert run_command(*job, "-o", tmp_path / "new" / "deep" / "x.mp4", "--dry-run").exit_code == 0
    assert not (tmp_path / "new").exists()
    for impossible in ("voice.wav/new/x.mp4", f"new/{'n' * 300}/x.mp4", f"new/{'n' * 240}.mp4"):
        refused = run_command(*job, "-o", tmp_path / impossible, "--dry-run")
        assert refused.exit_code == 7 and "cannot be written" in refused.stderr, impossible
    assert not (tmp_path / "new").exists()


def test_printed_profile_gives_the_same_job(job: list[object], tmp_path: Path, run_command) -> None:
    run_command(*job, "--seed", "9")
    printed = run_command(*[word for word in job if word != "--json"], "--seed", "9", "--print-profile")
    saved = tmp_path / "saved.yaml"
    saved.write_text(printed.stdout)
    outcome = run_command(*job, "--profile", saved)
    assert outcome.exit_code == 0 and outcome.document["status"] == "already done", outcome.stderr


def test_another_voice_does_not_replace_the_first_result(job: list[object], tmp_path: Path, run_command) -> None:
    run_command(*job)
    first = (tmp_path / "source.dubbed.mp4").read_bytes()
    other = synthetic.make_audio(tmp_path / "other.wav", synthetic.speech(1.0, seed=8))
    job[job.index("--audio") + 1] = other
    refused = run_command(*job)
    assert refused.exit_code == 7 and "-o" in refused.stderr
    assert run_command(*job, "--dry-run").exit_code == 7
    assert (tmp_path / "source.dubbed.mp4").read_bytes() == first


def test_result_without_a_receipt_is_recognised_by_content(job: list[object], tmp_path: Path, run_command) -> None:
    """As after SIGKILL between putting the file in its place and writing the receipt."""
    run_command(*job)
    for receipt in (tmp_path / "cache" / "receipts").iterdir():
        receipt.unlink()
    assert run_command(*job).document["status"] == "already done"


def test_link_at_the_output_is_followed(job: list[object], tmp_path: Path, run_command) -> None:
    (tmp_path / "big disk").mkdir()
    link = tmp_path / "link.mp4"
    link.symlink_to(tmp_path / "big disk" / "result.mp4")
    assert run_command(*job, "-o", link).exit_code == 0
    assert link.is_symlink() and (tmp_path / "big disk" / "result.mp4").is_file()


def test_prompt_without_effect_is_told_and_changes_nothing(job: list[object], run_command) -> None:
    run_command(*job)
    outcome = run_command(*job, "--prompt", "a man speaking")
    assert outcome.document["status"] == "already done"
    assert "--prompt has no effect" in outcome.stderr
