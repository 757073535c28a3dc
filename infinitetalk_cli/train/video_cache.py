"""Encoded videos on disk: one record per file, written when all of it is there, in a folder named by what made it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from infinitetalk_cli.cache.files import write_text_atomic
from infinitetalk_cli.cache.fingerprint import file_content_hash, fingerprint
from infinitetalk_cli.errors import InputError
from infinitetalk_cli.models.nano_audio import NanoAudioEncoder
from infinitetalk_cli.models.nano_codec import NanoCodec
from infinitetalk_cli.models.tensor_files import save_whole
from infinitetalk_cli.progress import Progress
from infinitetalk_cli.train.faces import FaceFinder, mouth_of
from infinitetalk_cli.train.latents import encode_shard
from infinitetalk_cli.train.settings import VideoSettings
from infinitetalk_cli.train.videos import SourceFile, VideoClip, clip_seed, clips_of, held_out_files, reason
from infinitetalk_cli.world.settings import Settings

log = logging.getLogger(__name__)

_VERSION = 1
"""Raised when equal files and settings give other clips."""


class FileRecord(Settings):
    """What became of one video: its clips, or why there are none."""

    name: str
    digest: str
    clips: int
    shards: tuple[str, ...]
    skipped: str | None = None


class Prepared(Settings):
    """Encoded videos: shards to train on, and shards of files that are held out."""

    shards: tuple[Path, ...]
    held_out: tuple[Path, ...]
    records: tuple[FileRecord, ...]


EncodeFile = Callable[[SourceFile, Path], tuple[int, list[str]]]
"""Writes the shards of a file into a folder; gives the number of clips and the shards' names."""


def cache_folder(root: Path, settings: VideoSettings, weights: Iterable[Path], **other: object) -> Path:
    """The folder for videos cut by `settings` and encoded with the networks in files `weights`."""
    made_by = {
        "version": _VERSION,
        "videos": settings.model_dump(mode="json", exclude={"held_out_share"}),
        "weights": [file_content_hash(path, root / "hashes") for path in weights],
        **other,
    }
    return root / fingerprint(made_by)


def prepare_videos(
    files: Sequence[SourceFile], folder: Path, encode: EncodeFile, held_out_share: float, progress: Progress
) -> Prepared:
    """Encode the files that have no record yet, say once which are skipped, and split the rest.

    Raises:
        InputError: no file gave a clip.
    """
    folder.mkdir(parents=True, exist_ok=True)
    progress.start("encoding videos", len(files))
    records = []
    for file in files:
        records.append(_record(file, folder, encode))
        if records[-1].skipped is not None:
            progress.note(f"{file.path.name}: skipped: {records[-1].skipped}")
        progress.advance()
    usable = [file for file, record in zip(files, records, strict=True) if record.clips]
    if not usable:
        raise InputError(
            f"none of {len(files)} videos can be trained on; the first: {records[0].name}: {records[0].skipped}"
        )
    held_out = held_out_files(usable, held_out_share)

    def shards(is_held_out: bool) -> tuple[Path, ...]:
        chosen = (record for record in records if (record.digest in held_out) == is_held_out)
        return tuple(folder / name for record in chosen for name in record.shards)

    prepared = Prepared(shards=shards(False), held_out=shards(True), records=tuple(records))
    num_clips = sum(record.clips for record in records)
    log.info("%d clips of %d videos, %d videos held out, in %s", num_clips, len(usable), len(held_out), folder)
    return prepared


def _record(file: SourceFile, folder: Path, encode: EncodeFile) -> FileRecord:
    path = folder / f"file-{file.digest[:24]}.json"
    if path.exists():
        known = FileRecord.model_validate_json(path.read_bytes(), strict=False)
        if all((folder / name).exists() for name in known.shards):
            return known
    try:
        clips, shards = encode(file, folder)
        record = FileRecord(name=file.path.name, digest=file.digest, clips=clips, shards=tuple(shards))
    except InputError as exc:
        record = FileRecord(name=file.path.name, digest=file.digest, clips=0, shards=(), skipped=reason(exc, file))
    write_text_atomic(path, record.model_dump_json(indent=1))
    return record


def nano_encoder(
    settings: VideoSettings, codec: NanoCodec, encoder: NanoAudioEncoder, faces: FaceFinder | None, progress: Progress
) -> EncodeFile:
    """Files to latent shards of nano: one for each size of picture."""

    def encode(file: SourceFile, folder: Path) -> tuple[int, list[str]]:
        rows: dict[tuple[int, ...], list[dict[str, Tensor]]] = {}
        for number, clip in enumerate(clips_of(file, settings, faces, progress)):
            shard = encode_shard(pixel_row(clip, clip_seed(file, number)), codec, encoder)
            rows.setdefault(clip.frames_u8.shape[1:3], []).append(shard)
        names = []
        for (height, width), shards in rows.items():
            names.append(f"shard-{file.digest[:24]}-{height}x{width}.safetensors")
            save_whole({key: torch.cat([shard[key] for shard in shards]) for key in shards[0]}, folder / names[-1])
        return sum(map(len, rows.values())), names

    return encode


def pixel_row(clip: VideoClip, seed: int) -> dict[str, Tensor]:
    """A pixel shard (see `dataset.py`) of one clip; the mouth is about where a face has it, or unknown."""
    row = {
        "frames": torch.from_numpy(clip.frames_u8)[None],
        "waveform": torch.from_numpy(clip.waveform)[None],
        "seed": torch.tensor([seed]),
    }
    if clip.face is not None:
        middle, half = mouth_of(clip.face)
        row["mouth_px"] = torch.tensor(middle).expand(1, len(clip.frames_u8), 2)
        row["mouth_half"] = torch.tensor(half)[None]
    return row
