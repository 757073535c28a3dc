"""Rows become the jobs that `dub` would make of the same options, or a complaint that names the row."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from infinitetalk_cli.batch.jobs import BatchJob
from infinitetalk_cli.batch.rows import read_table
from infinitetalk_cli.cli.batch_jobs import columns, read_jobs, repeated_columns
from infinitetalk_cli.errors import InputError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Files that rows can name; nobody looks into them before a job is prepared."""
    for name in ("a.mp4", "b.mp4", "a.wav", "b.wav", "cuts.txt", "mine.yaml", "style.safetensors"):
        (tmp_path / name).touch()
    (tmp_path / "mine.yaml").write_text("extends: nano\n")
    return tmp_path


def jobs_of(folder: Path, text: str, **given: Any) -> list[BatchJob]:
    (folder / "jobs.csv").write_text(text)
    table = read_table(folder / "jobs.csv", columns(), repeated_columns())
    return read_jobs(table, folder, {"cache_dir": folder / "cache", **given})


def problems_of(folder: Path, text: str, **given: Any) -> list[str]:
    with pytest.raises(InputError) as caught:
        jobs_of(folder, text, **given)
    return [line.removeprefix(f"{folder}/jobs.csv, ") for line in str(caught.value).splitlines()]


def test_columns_are_the_options_of_dub():
    assert {"video", "audio", "output", "camera-lock-strength", "no-report", "lora", "profile"} <= columns().keys()
    assert not {"cache-dir", "no-wait", "json", "dry-run"} & columns().keys()
    assert {"audio", "speech", "lora", "speaker-box"} <= repeated_columns()


def test_a_row_is_what_dub_would_make_of_it(folder: Path):
    [job] = jobs_of(
        folder,
        "video,audio,seed,start,scenes,profile,speaker-box,no-report,only-speech,fps,output\n"
        'a.mp4,a.wav|b.wav,7,0:01.5,cuts.txt,mine.yaml,"0,0,50%,100%|50%,0,100%,100%",yes,no,source,out/x.mp4\n',
    )
    request = job.request
    assert request.video == folder / "a.mp4" and request.audio == (folder / "a.wav", folder / "b.wav")
    assert request.overrides == {"--seed": ("sampling.seed", 7), "--scenes": ("chunks.scenes", "auto")}
    assert request.start_s == Fraction(3, 2) and request.scene_list == folder / "cuts.txt"
    assert request.profile == str(folder / "mine.yaml") and request.output == folder / "out" / "x.mp4"
    assert len(request.speaker_boxes) == 2 and not request.report and request.frame_rate == "source"
    assert not request.wait_for_lock and request.cache_root == folder / "cache"


def test_rows_count_more_than_the_command_line(folder: Path):
    text = "video,audio,seed,no-report\na.mp4,a.wav,3,no\nb.mp4,b.wav,,\n"
    first, second = jobs_of(folder, text, seed=9, no_report=True, force=True)
    assert [dict(job.request.overrides.values())["sampling.seed"] for job in (first, second)] == [3, 9]
    assert (first.request.report, second.request.report) == (True, False)
    assert first.request.force and second.request.force


def test_paths_of_the_command_line_count_from_here(folder: Path, monkeypatch: pytest.MonkeyPatch):
    (folder / "elsewhere").mkdir()
    (folder / "elsewhere" / "other.yaml").write_text("extends: nano\n")
    monkeypatch.chdir(folder / "elsewhere")
    [job] = jobs_of(folder, "video,audio\na.mp4,a.wav\n", profile="other.yaml")
    assert job.request.profile == str(folder / "elsewhere" / "other.yaml")


def test_loras_are_files_where_there_is_one(folder: Path):
    [job] = jobs_of(
        folder, "video,audio,profile,lora\na.mp4,a.wav,infinitetalk-480p,style.safetensors:0.5|lightx2v-I2V-14B-480P\n"
    )
    _, loras = job.request.overrides["--lora"]
    assert [lora["file"] for lora in loras] == [str(folder / "style.safetensors"), "lightx2v-I2V-14B-480P"]


def test_all_rows_are_checked_before_anything_begins(folder: Path):
    problems = problems_of(
        folder,
        "video,audio,seed,output,no-report,turns,profile\n"
        "a.mp4,none.wav,,,,,\n"
        "a.mp4,a.wav,x,,,,\n"
        "a.mp4,a.wav,1,r.mp4,,,\n"
        "b.mp4,b.wav,2,./r.mp4,,,\n"
        "b.mp4,,,,,,\n"
        "b.mp4,b.wav,,,maybe,,\n"
        "b.mp4,b.wav,,q.mp4,,sequence,\n"
        "b.mp4,b.wav,-1,p.mp4,,,\n"
        "b.mp4,b.wav,,o.mp4,,,nanno\n",
    )
    said = (
        ("row 2", "none.wav does not exist"),
        ("row 3", "'--seed'"),
        ("row 5", "same output as row 4"),
        ("row 6", "has no audio"),
        ("row 7", "'maybe'; write yes or no"),
        ("row 8", "--turns has no effect"),
        ("row 9", "--seed"),
        ("row 10", "did you mean 'nano'"),
    )
    assert len(problems) == len(said), problems
    for place, what in said:
        assert any(problem.startswith(f"{place}: ") and what in problem for problem in problems), (place, problems)


def test_results_that_no_row_names_go_to_one_folder(folder: Path):
    (folder / "jobs.csv").write_text("video,audio,output\na.mp4,a.wav,\nb.mp4,b.wav,mine.mp4\n")
    table = read_table(folder / "jobs.csv", columns(), repeated_columns())
    first, second = read_jobs(table, folder, {"cache_dir": folder / "cache"}, folder / "new")
    assert first.request.output == folder / "new" / "a.dubbed.mp4" and second.request.output == folder / "mine.mp4"
