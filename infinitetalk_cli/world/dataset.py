"""Rendered clips on disk: shards of equal picture size, written once and resumable.

A shard is one safetensors file, t frames at 25 fps each; `Clip` says what the truth means:
    frames     (n, t, h, w, 3) uint8
    mouth      (n, t, 4) float32: openness, width, teeth, tongue
    mouth_px   (n, t, 2) float32: middle of the mouth, x and y in pixels
    mouth_half (n, 2) float32: half width and half height of the largest mouth, in pixels
    face       (n, t, 2) float32: blink, brow
    head       (n, t, 6) float32: x and y in pixels, turn, pixels per head unit, yaw, nod
    camera     (n, t, 4) float32: pan x and y in pixels, zoom, roll
    hands      (n, t, 2, 3) float32: x and y in pixels and presence of the hand at the left, and at the right
    waveform   (n, t * 640) float32: 16 kHz speech at the loudness of inference
    seed       (n,) int64
    twin       (n, t, h, w, 3) uint8: with `twins`, the same person, scene and camera, other words in the mouth
Its metadata `about` is JSON: `languages` and `voices` by clip, and whether they are `held_out` of training.
"""

from __future__ import annotations

import json
import multiprocessing
import random
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from infinitetalk_cli.errors import ResourceError, writing_to
from infinitetalk_cli.models.tensor_files import save_whole
from infinitetalk_cli.progress import Progress
from infinitetalk_cli.units import MODEL_RATE, SPEECH_RATE_HZ
from infinitetalk_cli.world.camera import STILL_CAMERA, CameraAmplitudes
from infinitetalk_cli.world.clip import Clip, make_clip
from infinitetalk_cli.world.gestures import uses_hands
from infinitetalk_cli.world.phonemes import MouthTrack
from infinitetalk_cli.world.settings import PictureSize, WorldSettings
from infinitetalk_cli.world.speech import Utterance, random_speech
from infinitetalk_cli.world.voices import normalised

SAMPLES_PER_FRAME = int(SPEECH_RATE_HZ / MODEL_RATE)
HELD_OUT_FIRST_SEED = 10_000_000
"""Seeds from here on are for tests: characters, voices and words that training never meets."""


@dataclass(frozen=True)
class Row:
    """One clip as it is stored: `tensors` without their first axis."""

    tensors: dict[str, np.ndarray]
    language: str
    voice: str


def spoken_clip(
    seed: int,
    num_frames: int,
    height: int,
    width: int,
    head_motion: float,
    camera: CameraAmplitudes = STILL_CAMERA,
    hands: bool = False,
    held_out: bool = False,
) -> tuple[Clip, np.ndarray]:
    """Clip `seed` and its speech (num_frames * 640,) float32, loudness-normalised."""
    speech = random_speech(seed, num_frames / MODEL_RATE, held_out)
    clip = make_clip(
        seed, speech.mouth[:num_frames], height, width, head_motion, camera, hands, speech.prosody.until(num_frames)
    )
    return clip, normalised(speech.waveform)[: num_frames * SAMPLES_PER_FRAME]


def amplitudes(seed: int, settings: WorldSettings) -> tuple[float, CameraAmplitudes]:
    """How much head and camera of clip `seed` move, drawn from the ranges of `settings`."""
    rng = random.Random(f"restless/{seed}")
    head, camera = rng.uniform(*settings.head_motion), rng.uniform(*settings.camera_motion)
    parts = (settings.camera_pan, settings.camera_zoom, settings.camera_shake)
    return head, CameraAmplitudes(*(camera * part for part in parts))


def shard_sizes(settings: WorldSettings) -> list[PictureSize]:
    """Picture size of every shard: each size gets its share, spread evenly over the set."""
    num_shards = -(-settings.num_clips // settings.clips_per_shard)
    due = [0.0] * len(settings.sizes)
    chosen = []
    for _ in range(num_shards):
        due = [d + size.share for d, size in zip(due, settings.sizes, strict=True)]
        index = max(range(len(due)), key=due.__getitem__)
        due[index] -= 1
        chosen.append(settings.sizes[index])
    return chosen


def shard_seeds(index: int, settings: WorldSettings) -> range:
    """Seeds of the clips of shard `index`."""
    first = index * settings.clips_per_shard
    last = min(first + settings.clips_per_shard, settings.num_clips)
    return range(settings.seed + first, settings.seed + last)


def speak(task: tuple[int, PictureSize], settings: WorldSettings, held_out: bool) -> Utterance:
    """The speech of one clip."""
    return random_speech(task[0], settings.clip_frames / MODEL_RATE, held_out)


def draw_row(
    task: tuple[int, PictureSize], speech: Utterance, settings: WorldSettings, device: torch.device | str = "cpu"
) -> Row:
    """One clip with all its truth."""
    (seed, size), num_frames = task, settings.clip_frames
    head, camera = amplitudes(seed, settings)
    prosody, hands = speech.prosody.until(num_frames), uses_hands(seed, settings.hands)
    mouth = speech.mouth[:num_frames]
    clip = make_clip(seed, mouth, size.height, size.width, head, camera, hands, prosody, device)
    tensors = {
        "frames": clip.frames_u8,
        "mouth": clip.mouth.stacked(),
        "mouth_px": clip.mouth_px.astype(np.float32),
        "mouth_half": np.array(clip.mouth_half_px, np.float32),
        "face": torch.stack((clip.motion.head.blink, clip.motion.head.brow), dim=1).numpy(),
        "head": clip.head_pose,
        "camera": clip.camera,
        "hands": clip.hands,
        "waveform": normalised(speech.waveform)[: num_frames * SAMPLES_PER_FRAME],
        "seed": np.array(seed, np.int64),
    }
    if settings.twins:
        twin = make_clip(seed, other_words(mouth), size.height, size.width, head, camera, hands, device=device)
        tensors["twin"] = twin.frames_u8
    return Row(tensors, speech.language, speech.voice or "default")


def other_words(mouth: MouthTrack) -> MouthTrack:
    """A mouth that says something else at every moment: the same words, half a clip later, and round."""
    return MouthTrack.from_stacked(np.roll(mouth.stacked(), len(mouth) // 2, axis=0))


def _make_row(task: tuple[int, PictureSize], settings: WorldSettings, held_out: bool) -> Row:
    """What one process does for one clip."""
    return draw_row(task, speak(task, settings, held_out), settings)


def _as_worker() -> None:
    """A process among several: one thread, and Ctrl-C is for the main one, which then asks the others to stop."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def _mapping(workers: int) -> Iterator[Callable[[Callable, Iterable], Iterator]]:
    """`map` over `workers` processes, in order; in this very process if it is one."""
    if workers <= 1:
        yield map
        return
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _as_worker)
    try:
        yield pool.map
    except BrokenProcessPool as exc:
        raise ResourceError(
            f"one of {workers} rendering processes was killed, most likely for want of memory; "
            "run the command again with fewer workers, finished shards are kept"
        ) from exc
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def render_rows(
    tasks: list[tuple[int, PictureSize]],
    settings: WorldSettings,
    held_out: bool = False,
    workers: int = 1,
    device: torch.device | str = "cpu",
) -> Iterator[Row]:
    """Clips of `tasks` (seed, size), in order; the same whatever `workers`, processes that speak and draw.

    With a GPU as `device` the processes only speak, and everything is drawn there.
    """
    with _mapping(workers) as over:
        if torch.device(device).type == "cpu":
            yield from over(partial(_make_row, settings=settings, held_out=held_out), tasks)
            return
        spoken = over(partial(speak, settings=settings, held_out=held_out), tasks)
        for task, speech in zip(tasks, spoken, strict=True):
            yield draw_row(task, speech, settings, device)


def render_world(
    folder: Path,
    settings: WorldSettings,
    progress: Progress,
    held_out: bool = False,
    workers: int = 1,
    device: torch.device | str = "cpu",
) -> list[Path]:
    """Write every missing shard into `folder`; paths of all shards, in order.

    Raises ResourceError if one of `workers` processes is killed; what is finished is kept.
    """
    with writing_to(folder):
        folder.mkdir(parents=True, exist_ok=True)
    sizes = shard_sizes(settings)
    paths = [folder / f"shard-{index:04d}.safetensors" for index in range(len(sizes))]
    missing = [index for index, path in enumerate(paths) if not path.exists()]
    tasks = [(seed, sizes[index]) for index in missing for seed in shard_seeds(index, settings)]
    progress.start("rendering characters", settings.num_clips, done=settings.num_clips - len(tasks))
    rows = render_rows(tasks, settings, held_out, workers, device)
    for index in missing:
        shard = []
        for _ in shard_seeds(index, settings):
            shard.append(next(rows))
            progress.advance()
        _write_shard(paths[index], shard, held_out)
    return paths


def _write_shard(path: Path, rows: list[Row], held_out: bool) -> None:
    stacked = {name: np.stack([row.tensors[name] for row in rows]) for name in rows[0].tensors}
    tensors = {name: torch.from_numpy(values) for name, values in stacked.items()}
    about = {
        "languages": [row.language for row in rows],
        "voices": [row.voice for row in rows],
        "held_out": held_out,
    }
    save_whole(tensors, path, {"about": json.dumps(about)})  # one key: several are written in any order


def held_out_world(settings: WorldSettings, num_clips: int) -> WorldSettings:
    """The same world with other people, voices and words, in pictures of the commonest size."""
    commonest = max(settings.sizes, key=lambda size: size.share)
    update = {"num_clips": num_clips, "clips_per_shard": num_clips, "seed": HELD_OUT_FIRST_SEED, "sizes": (commonest,)}
    return settings.model_copy(update=update)


def read_shards(paths: list[Path]) -> Iterator[dict[str, Tensor]]:
    """Shards one after the other."""
    for path in paths:
        yield load_file(path)


def to_pixels(frames_u8: Tensor) -> Tensor:
    """(..., t, h, w, 3) uint8 to (..., 3, t, h, w) float32 in [-1, 1]."""
    return frames_u8.movedim(-1, -4).float() / 127.5 - 1
