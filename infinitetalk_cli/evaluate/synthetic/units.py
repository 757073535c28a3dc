"""Runs takes clip by clip, and keeps what was found of each in a folder, so that a run can be stopped and gone on with.

DIR/found/SITUATION-METHOD-CLIP-HASH.json   the figures of one clip; the hash says from what
DIR/found/... .png                          some of its frames side by side
DIR/work/...                                a dub in the making; removed when its figures are kept
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from pydantic import BaseModel, ConfigDict, ValidationError

from infinitetalk_cli.cache.files import make_folder, sha256_of, temporary_for, write_text_atomic
from infinitetalk_cli.cache.fingerprint import fingerprint
from infinitetalk_cli.checkpoints.files import CONTROL
from infinitetalk_cli.config.profile import Profile
from infinitetalk_cli.errors import writing_to
from infinitetalk_cli.evaluate.synthetic import figures as measured
from infinitetalk_cli.evaluate.synthetic import lips
from infinitetalk_cli.evaluate.synthetic.clips import Case, clip_seed
from infinitetalk_cli.evaluate.synthetic.dubbing import dub, load_models, load_probe, stage_versions
from infinitetalk_cli.evaluate.synthetic.settings import (
    MAIN,
    EvalSettings,
    Method,
    Situation,
    Take,
    num_frames,
    picture_side,
)
from infinitetalk_cli.models.chunking import plan_chunks
from infinitetalk_cli.models.geometry import frames_from_pixels
from infinitetalk_cli.models.load import LoadedModels
from infinitetalk_cli.progress import Progress
from infinitetalk_cli.stages.keyframes import KeyframeSettings, make_plan
from infinitetalk_cli.stages.planned_chunk import PlannedChunk
from infinitetalk_cli.units import MODEL_RATE, clock

TRUTH = Method("truth", "the true dub: the same character and motion, the new mouth")
CODEC = Method("codec", "the true dub through the video codec: what the best transformer could reach")
COPY = Method("copy", "the source with the new voice: no lips, and nothing else wrong")
BOUNDS = (TRUTH, CODEC, COPY)
"""Videos that need no transformer; measured like the dubs, they say what a figure can be."""

STRIP_FRAMES = 10


class Found(BaseModel):
    """What is known of one clip of a take. `generate_s` None: unknown, or nothing was generated."""

    model_config = ConfigDict(frozen=True)

    figures: dict[str, float | list[float]]
    language: str
    voice: str
    num_frames: int
    seconds: float
    generate_s: float | None = None
    num_redrawn: int = 0


@dataclass(frozen=True)
class _Unit:
    """One clip of a take, and the place of its files, without what they end in."""

    take: Take
    index: int
    place: Path

    def file(self, ending: str) -> Path:
        """Not `with_suffix`: names of methods may hold dots."""
        return self.place.with_name(self.place.name + ending)


@dataclass
class Runner:
    """Finds takes with the weights named. One instance keeps what several units share."""

    settings: EvalSettings
    weights: Mapping[str, Path]
    folder: Path
    progress: Progress
    _models: dict[str, LoadedModels] = field(default_factory=dict, init=False)
    _hashes: dict[tuple[str, str], str] = field(default_factory=dict, init=False)
    _profiles: dict[Method, Profile] = field(default_factory=dict, init=False)
    _seconds_per_chunk: list[float] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        self._base = self.settings.load_profile()
        self._side_px = picture_side(self._base)
        self._probe = load_probe(self.weights[MAIN])

    @property
    def side_px(self) -> int:
        """Side of the pictures."""
        return self._side_px

    def find(self, takes: Sequence[Take]) -> dict[Take, list[Found]]:
        """What is found of every clip, and of the bounds of each situation and length under `takes`."""
        wanted = list(dict.fromkeys([*self._bounds(takes), *takes]))
        units = [unit for take in wanted for unit in self._units(take)]
        missing = [unit for unit in units if self._read(unit) is None]
        total = sum(unit.take.num_chunks for unit in units)
        left = sum(unit.take.num_chunks for unit in missing)
        self.progress.start("dubbing and measuring", total, total - left)
        if missing:
            self.progress.note(f"{len(missing)} of {len(units)} videos are to be made and measured, {left} chunks")
        groups: dict[tuple[Situation, int, int], list[_Unit]] = {}
        for unit in missing:
            groups.setdefault((unit.take.situation, unit.take.num_chunks, unit.index), []).append(unit)
        for (situation, num_chunks, index), group in groups.items():
            case = self._case(situation, num_chunks, index)
            for unit in group:
                self._make(unit, case)
                left -= num_chunks
                self._forecast(left)
        return {take: [self._kept(unit) for unit in self._units(take)] for take in wanted}

    def strip(self, take: Take, index: int) -> Path:
        """The picture of some frames of clip `index`."""
        return self._units(take)[index].file(".png")

    def _bounds(self, takes: Sequence[Take]) -> list[Take]:
        return [Take(bound, take.situation, take.num_chunks) for take in takes for bound in BOUNDS]

    def _units(self, take: Take) -> list[_Unit]:
        return [self._unit(take, index) for index in range(self.settings.num_clips)]

    def _unit(self, take: Take, index: int) -> _Unit:
        method, situation, count = take.method, take.situation, self.settings.num_clips
        camera = situation.camera
        profile = self._profile(method)
        sections = ("geometry", "audio", "chunks", "speech", "camera", "sampling", "post", "quality", "compute")
        key = fingerprint(
            {
                "version": [measured.VERSION, *stage_versions()],
                "weights": self._hash(method.weights),
                "branch": self._hash(method.weights, CONTROL) if profile.steers_camera else None,
                "judge": self._hash(MAIN, "probe"),
                "profile": {name: getattr(profile, name).model_dump(mode="json") for name in sections},
                "video": method.name if method in BOUNDS else "dub",
                "cut_every": method.cut_every,
                "situation": [situation.head_motion, camera.pan, camera.zoom, camera.shake],
                "num_chunks": take.num_chunks,
                "seeds": [clip_seed(index + k, count) for k in range(3)],
            }
        )
        name = f"{situation.name}{take.num_chunks}-{method.name}-{index:02d}-{key[:10]}"
        return _Unit(take, index, self.folder / "found" / name)

    def _profile(self, method: Method) -> Profile:
        if method not in self._profiles:
            changes = {"model.weights": str(self.weights[method.weights].absolute()), **dict(method.changes)}
            self._profiles[method] = self.settings.load_profile(changes)
        return self._profiles[method]

    def _hash(self, name: str, part: str = "*") -> str:
        """Of all parts of the weights, but for a camera branch; or of one `part`."""
        if (name, part) not in self._hashes:
            files = sorted(self.weights[name].glob(f"{part}/*.safetensors"))
            files = [file for file in files if part == CONTROL or file.parent.name != CONTROL]
            sums = {f"{file.parent.name}/{file.name}": sha256_of(file) for file in files}
            self._hashes[name, part] = fingerprint(sums)
        return self._hashes[name, part]

    def _read(self, unit: _Unit) -> Found | None:
        path = unit.file(".json")
        try:
            return Found.model_validate_json(path.read_bytes())
        except (FileNotFoundError, ValidationError):
            return None

    def _kept(self, unit: _Unit) -> Found:
        found = self._read(unit)
        assert found is not None, "it was made, or was there"
        return found

    def _spans(self, num_chunks: int) -> tuple[slice, ...]:
        chunks = self._base.chunks
        count = num_frames(self._base, num_chunks)
        plan = plan_chunks(count, chunks.num_frames, chunks.context_frames)
        return tuple(slice(chunk.new_start, chunk.new_stop) for chunk in plan)

    def _case(self, situation: Situation, num_chunks: int, index: int) -> Case:
        return Case.make(index, self.settings.num_clips, situation, self._side_px, self._spans(num_chunks))

    def _make(self, unit: _Unit, case: Case) -> None:
        method, began_s = unit.take.method, time.perf_counter()
        self.progress.detail(f"{unit.take.situation.name}, clip {unit.index + 1}, {method.name}")
        generate_s, redrawn, work = None, 0, self.folder / "work" / unit.place.name
        extra: measured.Figures = {}
        if method in BOUNDS:
            frames, chunks = self._bound(method, case), self._usual_plan(case)
            if method is TRUTH:
                extra = self._audio_alone(case)
        else:
            cuts = range(method.cut_every, case.num_frames, method.cut_every) if method.cut_every else ()
            profile = self._profile(method)
            made = dub(self._loaded(method.weights), profile, case.clip.frames_u8, case.waveform, work, cuts)
            frames, chunks, generate_s, redrawn = made.frames_u8, made.plan.chunks, made.seconds, made.num_redrawn
        figures = measured.figures_of(frames, case, chunks, self._probe) | extra
        seconds = time.perf_counter() - began_s
        found = Found(
            figures=figures,
            language=case.speech.language,
            voice=case.speech.voice or "default",
            num_frames=case.num_frames,
            seconds=seconds,
            generate_s=generate_s,
            num_redrawn=redrawn,
        )
        self._keep(unit, found, frames)
        shutil.rmtree(work, ignore_errors=True)
        self._seconds_per_chunk.append(seconds / unit.take.num_chunks)
        self.progress.advance(unit.take.num_chunks)

    def _keep(self, unit: _Unit, found: Found, frames_u8: np.ndarray) -> None:
        places = np.linspace(0, len(frames_u8) - 1, STRIP_FRAMES).round().astype(int)
        picture = unit.file(".png")
        with writing_to(picture):
            make_folder(picture.parent)
            temporary = temporary_for(picture)
            Image.fromarray(np.concatenate(list(frames_u8[places]), axis=1)).save(temporary, format="png")
            temporary.replace(picture)
        write_text_atomic(unit.file(".json"), json.dumps(found.model_dump(mode="json"), allow_nan=False))

    def _loaded(self, name: str) -> LoadedModels:
        if name not in self._models:
            self._models[name] = load_models(self.weights[name], self._base)
        return self._models[name]

    def _bound(self, method: Method, case: Case) -> np.ndarray:
        if method is COPY:
            return case.clip.frames_u8
        if method is TRUTH:
            return case.wanted_u8
        codec = self._loaded(MAIN).dubbing_model().codec
        with torch.inference_mode():
            return frames_from_pixels(codec.decode(codec.encode(case.wanted[None])))

    def _audio_alone(self, case: Case) -> measured.Figures:
        """What the audio encoder hears of the mouth: no picture can follow the voice better."""
        encoder, spoken = self._loaded(MAIN).audio_encoder(), torch.from_numpy(case.spoken.stacked())
        with torch.inference_mode():
            rows = torch.cat(list(encoder.encode(case.waveform, case.num_frames)))[:, 0]
            heard = encoder.mouth(rows)
        return {"audio_alone": [lips.correlation(heard[i], spoken[:, i]) for i in (0, 1)]}

    def _usual_plan(self, case: Case) -> tuple[PlannedChunk, ...]:
        """The chunks that the profile plans for the clip."""
        from infinitetalk_cli.media.timeline import SourceTimeline

        count = case.num_frames
        timeline = SourceTimeline(np.arange(count), count, 1 / MODEL_RATE, np.ones(count, bool))
        return make_plan(count, KeyframeSettings(chunks=self._base.chunks, start_s=0 / MODEL_RATE), timeline).chunks

    def _forecast(self, chunks_left: int) -> None:
        if chunks_left and len(self._seconds_per_chunk) in (4, 12, 40, 120):
            pace = sum(self._seconds_per_chunk) / len(self._seconds_per_chunk)
            self.progress.note(f"about {clock(pace * chunks_left)} left at the pace so far")
