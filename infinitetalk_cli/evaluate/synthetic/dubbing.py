"""Dubs a clip that is in memory, by the very stages that `infinitetalk dub` runs, in a folder of its own.

Nothing of the dub is done here: the source is written without loss, the stages read it, plan, generate and check, and
the frames are read back. So what is measured is the product with all that the profile says.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from infinitetalk_cli.cache.files import make_folder
from infinitetalk_cli.checkpoints.files import CONTROL, ModelFiles
from infinitetalk_cli.checkpoints.locate import locate_nano, nano_branch
from infinitetalk_cli.config.job import Job, OutputSettings
from infinitetalk_cli.config.profile import Profile
from infinitetalk_cli.errors import DependencyError, writing_to
from infinitetalk_cli.media.lossless import write_frames
from infinitetalk_cli.models.load import LoadedModels
from infinitetalk_cli.models.mouth_probe import MouthProbe
from infinitetalk_cli.progress import Progress, SilentProgress
from infinitetalk_cli.stages.attempts import read_record
from infinitetalk_cli.stages.audio_embedding import AUDIO_EMBEDDING
from infinitetalk_cli.stages.chunk_files import read_kept_frames, record_file
from infinitetalk_cli.stages.demux import DEMUX
from infinitetalk_cli.stages.generate import GENERATE
from infinitetalk_cli.stages.keyframes import KEYFRAMES, ChunkPlan, read_plan
from infinitetalk_cli.stages.scenes import Cut, SceneCuts
from infinitetalk_cli.stages.stage import Stage, StageContext
from infinitetalk_cli.units import MODEL_RATE, FrameSpan, frame_time
from infinitetalk_cli.world.make_sample import write_wav

_DONE = "done"


@dataclass(frozen=True)
class Dubbed:
    """Frames (t, h, w, 3) uint8 of a dub, its plan, the seconds that generating took, and chunks drawn again.

    `seconds` is None where an earlier run made a part of it.
    """

    frames_u8: np.ndarray
    plan: ChunkPlan
    seconds: float | None
    num_redrawn: int


def load_models(weights: Path, profile: Profile) -> LoadedModels:
    """The networks in `weights` (shipped, or of a training run), on the CPU; with their camera branch, if any."""
    files, branch = locate_nano(weights), nano_branch(weights)
    if branch is not None:
        files = ModelFiles(files.family, {**files.networks, CONTROL: branch})
    return LoadedModels(files, "cpu", profile.compute, profile.memory)


def load_probe(weights: Path) -> MouthProbe:
    """The judge of lip figures.

    Raises:
        DependencyError: `weights` are without one.
    """
    try:
        return MouthProbe.from_pretrained(weights / "probe", local_files_only=True).float().eval()
    except (OSError, ValueError) as exc:
        raise DependencyError(
            f"{weights}: has no readable probe/, which reads mouths; take weights that `infinitetalk train` exported"
        ) from exc


def dub(
    models: LoadedModels,
    profile: Profile,
    frames_u8: np.ndarray,
    waveform: np.ndarray,
    folder: Path,
    cuts: Sequence[int] = (),
    progress: Progress | None = None,
) -> Dubbed:
    """`frames_u8` (t, h, w, 3) with the speech `waveform` (mono, 16 kHz), as `profile` has it.

    `cuts`: frames with which scenes begin, as a user may list them. What an earlier, interrupted call left in `folder`
    is gone on from; it has to be of the same arguments.
    """
    with writing_to(folder):
        make_folder(folder)
    source, speech = folder / "source.mkv", folder / "speech.wav"
    with writing_to(folder):
        if not (folder / _DONE).exists():
            write_frames(source, frames_u8, MODEL_RATE)
            write_wav(speech, waveform)
            (folder / _DONE).touch()
    job = Job(profile=profile, encode=OutputSettings(container=".mkv"))
    context = StageContext(progress or SilentProgress(), models, lambda: None)
    artefacts = {"source_video": source, "dub_audio": speech, "speech": speech}
    if cuts:
        artefacts["scenes"] = _listed(folder / "scenes.json", cuts)
    for stage in (DEMUX, AUDIO_EMBEDDING, KEYFRAMES):
        _run(stage, job, artefacts, folder, context)
    plan, is_new = read_plan(artefacts["plan"]), not (folder / GENERATE.name).exists()
    models.dubbing_model()
    began_s = time.perf_counter()
    _run(GENERATE, job, artefacts, folder, context)
    seconds = time.perf_counter() - began_s
    chunks = artefacts["chunks"]
    frames = np.stack(list(read_kept_frames(chunks, plan, FrameSpan(0, len(frames_u8)))))
    redrawn = sum(len(read_record(record_file(chunks, chunk.index)).attempts) > 1 for chunk in plan.chunks)
    return Dubbed(frames, plan, seconds if is_new else None, redrawn)


def stage_versions() -> list[int]:
    """Of the stages that a dub goes through: a raised one makes other pixels."""
    return [stage.version for stage in (DEMUX, AUDIO_EMBEDDING, KEYFRAMES, GENERATE)]


def _listed(path: Path, cuts: Sequence[int]) -> Path:
    """A list of scenes as the stage that reads a user's list writes it."""
    listed = tuple(Cut(index=k, time_s=Fraction(frame_time(k)), reference_index=k, kind="listed") for k in cuts)
    with writing_to(path):
        path.write_text(SceneCuts(cuts=listed).model_dump_json(), encoding="utf-8")
    return path


def _run(stage: Stage, job: Job, artefacts: dict[str, Path], folder: Path, context: StageContext) -> None:
    """Run `stage` below `folder` and add what it makes to `artefacts`."""
    out = folder / stage.name
    with writing_to(out):
        make_folder(out)
    names = (*stage.inputs, *(name for name in stage.optional_inputs if name in artefacts))
    inputs: Mapping[str, Path] = {name: artefacts[name] for name in names}
    settings = stage.settings(job)
    if stage is GENERATE:  # what is measured may not depend on whether the extra `faces` is installed
        settings = settings.model_copy(update={"finds_faces": False})
    stage.run(inputs, settings, out, context)
    artefacts |= {name: out / file for name, file in stage.outputs.items()}
