"""What is said of a difference between two runs."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from infinitetalk_cli.cache.store import Store
from infinitetalk_cli.config.job import Job, OutputSettings
from infinitetalk_cli.config.model import ModelProfile
from infinitetalk_cli.config.profile import Profile, SamplingProfile
from infinitetalk_cli.pipeline import jobs
from infinitetalk_cli.pipeline.plan import PlannedStage, plan_stages
from infinitetalk_cli.pipeline.reasons import changed_settings, reasons
from infinitetalk_cli.pipeline.sources import SourceFile
from infinitetalk_cli.stages import STAGES

HASHES = {"source_video": "a" * 64, "dub_audio": "b" * 64, "speech": "b" * 64}
FILES = {name: SourceFile(Path(f"/films/{name}.mp4"), sha256, (1, 2, 3)) for name, sha256 in HASHES.items()}
REVISIONS = {"transformer": "r1", "codec": "r1", "audio_encoder": "r1"}


def profile(**sampling: object) -> Profile:
    model = ModelProfile(family="nano", weights="builtin:nano")
    return Profile(name="p", description="d", model=model, sampling=SamplingProfile(**sampling))


def plan(
    store: Store,
    made_from: Profile | None = None,
    hashes: dict[str, str] | None = None,
    revisions: dict[str, str] | None = None,
) -> list[PlannedStage]:
    job = Job(profile=made_from or profile(), encode=OutputSettings(container=".mp4"))
    return plan_stages(STAGES, job, HASHES | (hashes or {}), REVISIONS | (revisions or {}), store)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


@pytest.fixture
def last(store: Store) -> jobs.JobRecord:
    """A finished run with default settings, of which nothing is in the cache."""
    record = jobs.begin_job(
        store, job="1" * 24, key="k", output=store.root / "o.mp4", base=profile(), asked=profile(),
        compute=profile().compute, sources=FILES, stages=plan(store),
    )  # fmt: skip
    jobs.finish_job(store, record)
    return record.model_copy(update={"finished_at": datetime.now(UTC)})


def test_the_record_comes_back_and_finds_its_run(store: Store, last: jobs.JobRecord):
    (record,) = jobs.job_records(store)
    assert record.finished_at is not None and record.stages == last.stages and record.sources == last.sources
    moved = {name: SourceFile(Path("/elsewhere") / name, file.sha256, file.signature) for name, file in FILES.items()}
    edited = {name: SourceFile(file.path, "c" * 64, file.signature) for name, file in FILES.items()}
    assert jobs.last_run([record], "k", moved) == jobs.last_run([record], "other", edited) == record
    assert jobs.last_run([record], "other", moved) is None


def test_damaged_record_is_no_record(store: Store, last: jobs.JobRecord):
    (path,) = store.jobs_dir.glob("*.json")
    path.write_text(path.read_text().replace('"k"', '"K"'))
    assert jobs.job_records(store) == []


def test_first_time_needs_no_reason(store: Store):
    assert reasons(plan(store), None, store) == {}


def test_setting_weights_file_and_what_follows(store: Store, last: jobs.JobRecord):
    seeded = reasons(plan(store, profile(seed=7)), last, store)
    assert seeded["generate"] == ("sampling.seed 42 -> 7",)
    assert seeded["inspect"] == ("what it reads changes: generate",)
    retrained = reasons(plan(store, revisions={"transformer": "r2"}), last, store)
    assert retrained["generate"] == ("the weights of the transformer changed",)
    revoiced = reasons(plan(store, hashes={"dub_audio": "c" * 64, "speech": "c" * 64}), last, store)
    assert revoiced["audio_embedding"] == ("dub_audio.mp4 changed", "speech.mp4 changed")
    assert revoiced["demux"] == ("it is no longer in the cache",)


def test_many_settings_are_counted(store: Store, last: jobs.JobRecord):
    other = profile(seed=7, num_steps=3, timestep_shift=2.0, sdedit_t0=0.5, audio_guidance_scale=2.0)
    said = reasons(plan(store, other), last, store)["generate"]
    assert len(said) == 4 and said[-1] == "and 2 more settings"


def test_settings_that_come_and_go():
    old = {"a": {"x": None, "y": 1}, "gone": True, "text": "w" * 60}
    new = {"a": {"x": {"z": 2}, "y": 1}, "text": ""}
    assert list(changed_settings(old, new)) == [
        "a.x.z 2 is new",
        f'text {"w" * 37}... -> ""',
        "a.x none is gone",
        "gone true is gone",
    ]
