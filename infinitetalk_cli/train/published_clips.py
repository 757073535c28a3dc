"""Videos as the large transformer sees them: one safetensors file per clip, everything encoded once.

    latents     (t, c, h, w) float16: the chunk in the middle of the clip, encoded on its own
    padded      (k, t, c, h, w) float16: each reference frame followed by grey, as the condition has it
    image       (k, n, d) float16: each reference frame as the image encoder describes it
    audio       (f + 4, layers, channels) float16: rows of the speech, two more on both sides
Reference 0 is the chunk's own first frame; the others are drawn by the strategy of the configuration.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from infinitetalk_cli.models.audio_encoder import AudioEncoder
from infinitetalk_cli.models.codec import VideoCodec
from infinitetalk_cli.models.dubbing_model import ImageEncoder
from infinitetalk_cli.models.geometry import pixels_from_frames
from infinitetalk_cli.models.tensor_files import save_whole
from infinitetalk_cli.models.text_encoder import PromptEncoder
from infinitetalk_cli.progress import Progress
from infinitetalk_cli.train.chunks import AUDIO_WINDOW_FRAMES
from infinitetalk_cli.train.faces import FaceFinder
from infinitetalk_cli.train.lora_settings import LoraSettings
from infinitetalk_cli.train.reference import chunk_starts, reference_candidates
from infinitetalk_cli.train.video_cache import EncodeFile
from infinitetalk_cli.train.videos import SourceFile, VideoClip, clips_of
from infinitetalk_cli.units import FrameSpan

ROW_MARGIN = AUDIO_WINDOW_FRAMES // 2


class ClipEncoder:
    """Clips to the tensors of a file; its networks see one picture or one chunk at a time."""

    def __init__(
        self,
        settings: LoraSettings,
        codec: VideoCodec,
        image_encoder: ImageEncoder,
        audio_encoder: AudioEncoder,
        device: torch.device,
    ) -> None:
        self._flow, self._device = settings.flow, device
        self._codec, self._image_encoder, self._audio_encoder = codec, image_encoder, audio_encoder
        self._num_frames = settings.flow.phases[0].chunk_frames

    def encode(self, clip: VideoClip, seed: str) -> dict[str, Tensor]:
        """Everything that training reads of `clip`; `seed` decides where its chunk and references are."""
        rng, strategy = random.Random(f"clip/{seed}"), self._flow.reference
        start = rng.choice(chunk_starts(strategy, self._num_frames, len(clip.frames_u8)))
        chunk = FrameSpan(start, start + self._num_frames)
        candidates = reference_candidates(strategy, chunk, len(clip.frames_u8))
        chosen = sorted(rng.sample(candidates, min(self._flow.references_per_clip, len(candidates))))
        pixels = pixels_from_frames(clip.frames_u8)
        stills = [pixels[:, :, frame : frame + 1].to(self._device) for frame in (chunk.start, *chosen)]
        return {
            "latents": self._latents(pixels[:, :, chunk.start : chunk.stop]),
            "padded": torch.stack([self._latents(self._followed_by_grey(still)) for still in stills]),
            "image": torch.stack([self._image_encoder(still)[0].half().cpu() for still in stills]),
            "audio": self._rows(clip, chunk),
        }

    def _latents(self, pixels: Tensor) -> Tensor:
        """(t, c, h, w) float16."""
        return self._codec.encode(pixels.to(self._device))[0].movedim(1, 0).half().cpu().contiguous()

    def _followed_by_grey(self, still: Tensor) -> Tensor:
        grey = torch.zeros_like(still).expand(-1, -1, self._num_frames - 1, -1, -1)
        return torch.cat((still, grey), dim=2)

    def _rows(self, clip: VideoClip, chunk: FrameSpan) -> Tensor:
        """Rows of the chunk and `ROW_MARGIN` on both sides, heard with what is said around the clip."""
        num_frames = clip.lead_frames + len(clip.frames_u8) + ROW_MARGIN
        rows = torch.cat(list(self._audio_encoder.encode(clip.surroundings, num_frames)))
        index = torch.arange(chunk.start - ROW_MARGIN, chunk.stop + ROW_MARGIN) + clip.lead_frames
        return rows[index.clamp(0, num_frames - 1)].half()


def published_encoder(
    settings: LoraSettings, make: Callable[[], ClipEncoder], faces: FaceFinder | None, progress: Progress
) -> EncodeFile:
    """Files to clip files; the networks are loaded by `make` when a file needs them."""
    loaded: list[ClipEncoder] = []

    def encode(file: SourceFile, folder: Path) -> tuple[int, list[str]]:
        names = []
        for number, clip in enumerate(clips_of(file, settings.videos, faces, progress)):
            if not loaded:
                loaded.append(make())
            names.append(f"shard-{file.digest[:24]}-{number:04d}.safetensors")
            save_whole(loaded[0].encode(clip, f"{file.digest}/{number}"), folder / names[-1])
        return len(names), names

    return encode


def caption(file: SourceFile, prompt: str) -> str:
    """What is said of a video: the text file beside it, else `prompt`."""
    beside = file.path.with_suffix(".txt")
    text = beside.read_text(encoding="utf-8", errors="replace").strip() if beside.is_file() else ""
    return text or prompt


def embedded_texts(
    texts: set[str], folder: Path, name_of: Callable[[str], str], load: Callable[[], PromptEncoder]
) -> dict[str, Tensor]:
    """Embeddings (n, d) float32 of `texts`, kept in `folder`; the text encoder is loaded only for new ones."""
    missing = sorted(text for text in texts if not (folder / f"{name_of(text)}.safetensors").exists())
    if missing:
        for text, embedding in zip(missing, load().embed(missing), strict=True):
            save_whole({"text": embedding.contiguous()}, folder / f"{name_of(text)}.safetensors")
    return {text: load_file(folder / f"{name_of(text)}.safetensors")["text"] for text in texts}
