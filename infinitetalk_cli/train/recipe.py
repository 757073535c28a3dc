"""Every step that makes a model, in order. A step whose product exists is skipped, so a run can be resumed.

world        rendered characters that talk           world/, world_held_out/
audio        audio encoder                           audio_encoder/
codec_basis  video encoder (a fixed matrix)          codec_basis/
latents      clips as latents and audio features     latents/, latents_held_out/
flow         transformer                             flow/
codec        video decoder                           codec/
probe        the judge that reads mouths             probe/
export       all weights, small, in one folder       weights/
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import torch
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor

from infinitetalk_cli.errors import InputError
from infinitetalk_cli.models.nano_audio import NanoAudioEncoder
from infinitetalk_cli.models.nano_codec import NanoCodec
from infinitetalk_cli.models.transformer import InfiniteTalkTransformer3DModel
from infinitetalk_cli.progress import Progress
from infinitetalk_cli.train.audio_fit import fit_audio_encoder
from infinitetalk_cli.train.codec_fit import fit_decoder, new_codec
from infinitetalk_cli.train.dataset import held_out_world, read_shards, render_world
from infinitetalk_cli.train.export import export_weights
from infinitetalk_cli.train.latents import ChunkSampler, encode_world
from infinitetalk_cli.train.loop import Trainer, build_transformer, held_out_batch
from infinitetalk_cli.train.probe_fit import fit_probe
from infinitetalk_cli.train.settings import TrainSettings

log = logging.getLogger(__name__)

STEPS = ("world", "audio", "codec_basis", "latents", "flow", "codec", "probe", "export")
_HELD_OUT_CLIPS = 24
Module = TypeVar("Module", bound=ModelMixin)


class Recipe:
    """One model in the making, in `folder`; rendered clips are in `data`, by default inside it."""

    def __init__(
        self, settings: TrainSettings, folder: Path, progress: Progress, data: Path | None = None, cpu: bool = False
    ) -> None:
        self.settings, self.folder, self.progress, self.cpu = settings, folder, progress, cpu
        self.data = data or folder / "world"

    def run(self, steps: Sequence[str] = STEPS) -> None:
        """Run `steps` in the order of `STEPS`; their inputs must exist or be among them."""
        for name in STEPS:
            if name in steps:
                log.info("step %s", name)
                getattr(self, name)()

    def world(self) -> None:
        """Render the training clips and a few of held-out people."""
        settings = self.settings.world
        render_world(self.data, settings, self.progress)
        held_out = held_out_world(settings, _HELD_OUT_CLIPS)
        render_world(self.folder / "world_held_out", held_out, self.progress, held_out=True)

    def audio(self) -> None:
        """Train the audio encoder."""
        self._made_once("audio_encoder", lambda: fit_audio_encoder(self.settings.audio, self.progress))

    def codec_basis(self) -> None:
        """Fit the video encoder; the transformer needs no more of the codec."""
        self._made_once("codec_basis", lambda: new_codec(self.settings.codec, self._fit_clips(), self.progress))

    def latents(self) -> None:
        """Encode all clips."""
        codec = NanoCodec.from_pretrained(self.folder / "codec_basis").eval()
        encoder = NanoAudioEncoder.from_pretrained(self.folder / "audio_encoder").eval()
        for suffix in ("", "_held_out"):
            paths = self._shards(self.folder / "world_held_out" if suffix else self.data)
            encode_world(paths, self.folder / f"latents{suffix}", codec, encoder, self.progress)

    def flow(self) -> None:
        """Train the transformer; its checkpoint and the average are kept in `flow/`."""
        flow = self.settings.flow
        torch.manual_seed(flow.seed)
        model = build_transformer(
            self.settings.transformer, self.settings.codec.latent_channels, self.settings.audio.channels
        )
        held_out = held_out_batch(self._shards(self.folder / "latents_held_out"), flow)
        sampler = ChunkSampler(self._shards(self.folder / "latents"), flow)
        trainer = Trainer(model, sampler, flow, self.folder / "flow", held_out, cpu=self.cpu)
        trainer.run(self.progress, on_checkpoint=self._keep_average)
        self._keep_average(trainer.average, trainer.step)

    def codec(self) -> None:
        """Train the video decoder."""

        def fitted() -> NanoCodec:
            codec = NanoCodec.from_pretrained(self.folder / "codec_basis")
            fit_decoder(codec, self._fit_clips(), self.settings.codec, self.progress)
            return codec

        self._made_once("codec", fitted)

    def probe(self) -> None:
        """Train the judge."""
        self._made_once("probe", lambda: fit_probe(self.settings.probe, self._fit_clips(), self.progress))

    def export(self) -> None:
        """Write the weights of the newest transformer and of everything beside it."""
        export_weights(self.folder, self.folder / "weights")

    def _keep_average(self, average: InfiniteTalkTransformer3DModel, step: int) -> None:
        average.save_pretrained(self.folder / "transformer")
        log.info("transformer of step %d saved", step)

    def _made_once(self, name: str, make: Callable[[], Module]) -> None:
        folder = self.folder / name
        if not (folder / "config.json").exists():
            partial = self.folder / f"{name}.partial"
            make().save_pretrained(partial)
            partial.rename(folder)

    def _shards(self, folder: Path) -> list[Path]:
        paths = sorted(folder.glob("shard-*.safetensors"))
        if not paths:
            raise InputError(f"{folder}: holds no shards; run the steps before this one first")
        return paths

    def _fit_clips(self) -> list[dict[str, Tensor]]:
        """Clips for codec and probe, spread over the whole set."""
        paths, wanted = self._shards(self.data), self.settings.codec.fit_clips
        num_shards = min(len(paths), -(-wanted // self.settings.world.clips_per_shard))
        clips = []
        for shard in read_shards([paths[i * len(paths) // num_shards] for i in range(num_shards)]):
            clips += [{name: tensor[i] for name, tensor in shard.items()} for i in range(len(shard["seed"]))]
        return clips[:wanted]
