"""Every step that makes a nano model, in order. A step whose product exists is skipped, so a run can be resumed.

world        rendered characters that talk           world/, world_NAME/, world_held_out/
audio        audio encoder                           audio_encoder/
codec_basis  video encoder (a fixed matrix)          codec_basis/
latents      clips as latents and audio features     latents/, latents_NAME/, latents_held_out/, or videos/
flow         transformer, or the camera branch       flow/, transformer/, uni3c/
codec        video decoder                           codec/
probe        the judge that reads mouths             probe/
export       all weights, small, in one folder       weights/

With a folder of videos nothing is rendered. With `parts_from` audio encoder, codec and probe are copied.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import torch
from diffusers.models.modeling_utils import ModelMixin
from pydantic import BaseModel
from torch import Tensor

from infinitetalk_cli.cache.files import write_text_atomic
from infinitetalk_cli.errors import DependencyError, InputError
from infinitetalk_cli.models.nano_audio import NanoAudioEncoder
from infinitetalk_cli.models.nano_codec import NanoCodec
from infinitetalk_cli.progress import Progress
from infinitetalk_cli.train.audio_fit import fit_audio_encoder
from infinitetalk_cli.train.build import build_transformer, load_transformer, trained_part
from infinitetalk_cli.train.chunks import Batch, ChunkSampler
from infinitetalk_cli.train.codec_fit import fit_decoder, new_codec
from infinitetalk_cli.train.export import export_weights
from infinitetalk_cli.train.faces import EXTRA, face_finder
from infinitetalk_cli.train.flow import NanoTask, held_out_batch, judging
from infinitetalk_cli.train.latents import encode_world
from infinitetalk_cli.train.loop import Trainer
from infinitetalk_cli.train.probe_fit import fit_probe
from infinitetalk_cli.train.samples import NUM_ROWS, sample_grid, write_grid
from infinitetalk_cli.train.settings import TrainSettings
from infinitetalk_cli.train.steered_flow import SteeredBatch, SteeredTask, SteeredTransformer, build_branch
from infinitetalk_cli.train.steps import run_steps, shards_in, wants_videos
from infinitetalk_cli.train.video_cache import Prepared, cache_folder, nano_encoder, prepare_videos
from infinitetalk_cli.train.videos import find_videos
from infinitetalk_cli.world.dataset import held_out_world, read_shards, render_world
from infinitetalk_cli.world.settings import WorldSettings

log = logging.getLogger(__name__)

STEPS = ("world", "audio", "codec_basis", "latents", "flow", "codec", "probe", "export")
_HELD_OUT_CLIPS = 24
Module = TypeVar("Module", bound=ModelMixin)


class Recipe:
    """One model in the making, in `folder`.

    `data`: a folder of videos, or of rendered clips to use or fill (by default inside `folder`). `workers` processes
    render.
    """

    def __init__(
        self,
        settings: TrainSettings,
        folder: Path,
        progress: Progress,
        data: Path | None = None,
        cpu: bool = False,
        workers: int = 1,
    ) -> None:
        self.settings, self.folder, self.progress, self.cpu, self.workers = settings, folder, progress, cpu, workers
        self.device = torch.device("cpu" if cpu or not torch.cuda.is_available() else "cuda")
        self.videos = data if wants_videos(settings, data) else None
        self.data = data if data is not None and self.videos is None else folder / "world"

    def run(self, steps: Sequence[str] = STEPS) -> None:
        """Run `steps` in the order of `STEPS`; their inputs must exist or be among them.

        Of several processes all train the transformer, and the main one does the rest.
        """
        run_steps(self, [name for name in STEPS if name in steps], together=("flow",), cpu=self.cpu)

    def world(self) -> None:
        """Render the training clips and a few of held-out people."""
        settings = self.settings.world
        if self.videos is not None:
            return
        for name in (None, *self.settings.worlds):
            folder, wanted = self._world_folder(name), self._world_settings(name)
            self._same(f"world_{name}" if name else "world", wanted)
            self._same("world", wanted, folder)  # several runs may share it
            render_world(folder, wanted, self.progress, workers=self.workers)
        held_out = held_out_world(settings, _HELD_OUT_CLIPS)
        held_out_folder = self.folder / "world_held_out"
        render_world(held_out_folder, held_out, self.progress, held_out=True, workers=self.workers)

    def audio(self) -> None:
        """Train the audio encoder."""
        settings = self.settings.audio
        self._made_once("audio_encoder", settings, lambda: fit_audio_encoder(settings, self.progress))

    def codec_basis(self) -> None:
        """Fit the video encoder; the transformer needs no more of the codec."""
        settings = self.settings.codec
        self._made_once("codec_basis", settings, lambda: new_codec(settings, self._fit_clips(), self.progress), "codec")

    def latents(self) -> None:
        """Encode all clips."""
        if self.videos is not None:
            _ = self._prepared
            return
        codec, encoder = self._encoders()
        for name in (None, *self.settings.worlds):
            paths = shards_in(self._world_folder(name))
            encode_world(paths, self._latents_folder(name), codec, encoder, self.progress, self.workers)
        paths = shards_in(self.folder / "world_held_out")
        encode_world(paths, self.folder / "latents_held_out", codec, encoder, self.progress, self.workers)

    def flow(self) -> None:
        """Train the transformer; its checkpoint is kept in `flow/`, the average in `transformer/`."""
        flow = self.settings.flow
        torch.manual_seed(flow.seed)
        if self.settings.transformer is not None:
            self._same("transformer", self.settings.transformer)
        codec, encoder = self._encoders()
        branch = self.settings.uni3c
        if flow.init_from is not None:
            model = load_transformer(flow.init_from)
            self._check_fit(model.config.out_channels, model.config.audio_channels, codec, encoder)
        else:
            model = build_transformer(self.settings.transformer, codec.latent_channels, encoder.channels)
        held_out = self._held_out_shards()
        judged, kind = None, Batch if branch is None else SteeredBatch
        if held_out:
            judged = held_out_batch(ChunkSampler(held_out, judging(flow), kind, renders=branch is not None))
        else:
            self.progress.note("one video only: nothing is held out, so no figures on unseen clips")
        worlds = {phase.world for phase in flow.phases}
        samplers = {
            name: ChunkSampler(self._train_shards(name), flow, kind, renders=branch is not None) for name in worlds
        }
        task = NanoTask(samplers, flow, judged)
        if branch is not None:
            model.save_pretrained(self.folder / "transformer")
            model = SteeredTransformer(model, build_branch(branch, model))
            task = SteeredTask(samplers, flow, judged)
        trainer = Trainer(model, task, flow, self.folder / "flow", cpu=self.cpu)
        trainer.run(self.progress, on_checkpoint=lambda trainer: self._keep(trainer, task))
        if trainer.accelerator.is_main_process:
            self._keep_average(trainer)

    def codec(self) -> None:
        """Train the video decoder."""

        def fitted() -> NanoCodec:
            codec = NanoCodec.from_pretrained(self.folder / "codec_basis").to(self.device)
            fit_decoder(codec, self._fit_clips(), self.settings.codec, self.progress)
            return codec

        self._made_once("codec", self.settings.codec, fitted)

    def probe(self) -> None:
        """Train the judge."""
        settings = self.settings.probe
        self._made_once("probe", settings, lambda: fit_probe(settings, self._fit_clips(), self.progress))

    def export(self) -> None:
        """Write the weights of the newest transformer and of everything beside it."""
        if not (self.folder / "transformer" / "config.json").exists():
            raise InputError(f"{self.folder}: has no transformer yet; run step flow first")
        export_weights(self.folder, self.folder / "weights")

    @property
    def weights(self) -> Path:
        """What the last step makes."""
        return self.folder / "weights"

    def _keep(self, trainer: Trainer, task: NanoTask) -> None:
        self._keep_average(trainer)
        every = self.settings.flow.samples_every
        if every is None or trainer.step % every:
            return
        with trainer.averaged() as model, trainer.accelerator.autocast():
            made = task.samples(model, trainer.device, NUM_ROWS)
        if made is not None:
            batch, latents = made
            name = "codec" if (self.folder / "codec" / "config.json").exists() else "codec_basis"
            codec = NanoCodec.from_pretrained(self.folder / name).float().eval().to(trainer.device)
            picture = sample_grid(codec, batch.reference, batch.clean, latents)
            write_grid(self.folder / "flow" / "samples", trainer.step, picture)

    def _keep_average(self, trainer: Trainer) -> None:
        with trainer.averaged() as model:
            if isinstance(model, SteeredTransformer):
                model.branch.save_pretrained(self.folder / "uni3c")
            else:
                model.save_pretrained(self.folder / "transformer")
        log.info("weights of step %d saved", trainer.step)

    def _made_once(
        self, name: str, settings: BaseModel | None, make: Callable[[], Module], part: str | None = None
    ) -> None:
        """Make network `name`, or copy it (as `part`) from `parts_from`."""
        folder = self.folder / name
        if settings is not None:
            self._same(name, settings)
        if (folder / "config.json").exists():
            return
        partial = self.folder / f"{name}.partial"
        if self.settings.parts_from is not None:
            shutil.rmtree(partial, ignore_errors=True)
            shutil.copytree(trained_part(self.settings.parts_from, part or name), partial)
        else:
            make().save_pretrained(partial)
        partial.rename(folder)

    def _same(self, name: str, settings: BaseModel, folder: Path | None = None) -> None:
        """Remember what `name` is made with; `InputError` if what is there was made with other settings."""
        folder = folder or self.folder
        path, now = folder / "made_with.json", settings.model_dump(mode="json")
        known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        before = known.setdefault(name, now)
        changed = [key for key in before if key in now and before[key] != now[key]]
        if changed:
            raise InputError(
                f"{folder}: its {name} was made with {changed[0]} {before[changed[0]]}, the configuration says "
                f"{now[changed[0]]}; use another folder, or restore the setting"
            )
        folder.mkdir(parents=True, exist_ok=True)
        write_text_atomic(path, json.dumps(known, indent=1))

    def _encoders(self) -> tuple[NanoCodec, NanoAudioEncoder]:
        for name, step in (("codec_basis", "codec_basis"), ("audio_encoder", "audio")):
            if not (self.folder / name / "config.json").exists():
                raise InputError(f"{self.folder}: has no {name} yet; run step {step} first")
        codec = NanoCodec.from_pretrained(self.folder / "codec_basis")
        encoder = NanoAudioEncoder.from_pretrained(self.folder / "audio_encoder")
        # Shipped weights are float16: to save space, not to compute with.
        return codec.float().eval().to(self.device), encoder.float().eval().to(self.device)

    def _check_fit(
        self, latent_channels: int, audio_channels: int, codec: NanoCodec, encoder: NanoAudioEncoder
    ) -> None:
        have, want = (codec.latent_channels, encoder.channels), (latent_channels, audio_channels)
        if have != want:
            raise DependencyError(
                f"{self.settings.flow.init_from}: its transformer wants {want[0]} latent and {want[1]} audio channels, "
                f"the codec and audio encoder here have {have[0]} and {have[1]}; take parts_from the same place"
            )

    @cached_property
    def _prepared(self) -> Prepared:
        """The videos, encoded; what is encoded already is not encoded again."""
        settings, root = self.settings.videos, self.folder / "videos"
        codec, encoder = self._encoders()
        faces = face_finder(settings.crop)
        if faces is None and settings.crop == "auto":
            self.progress.note(f"no face detector installed: whole pictures are trained on ({EXTRA} for faces)")
        networks = [next((self.folder / name).glob("*.safetensors")) for name in ("codec_basis", "audio_encoder")]
        folder = cache_folder(root, settings, networks, faces=faces is not None)
        encode = nano_encoder(settings, codec, encoder, faces, self.progress)
        files = find_videos(self.videos, root / "hashes")
        return prepare_videos(files, folder, encode, settings.held_out_share, self.progress)

    def _train_shards(self, world: str | None) -> list[Path]:
        return list(self._prepared.shards) if self.videos is not None else shards_in(self._latents_folder(world))

    def _held_out_shards(self) -> list[Path]:
        if self.videos is not None:
            return list(self._prepared.held_out)
        return shards_in(self.folder / "latents_held_out")

    def _world_settings(self, name: str | None) -> WorldSettings:
        return self.settings.world if name is None else self.settings.worlds[name].of(self.settings.world)

    def _world_folder(self, name: str | None) -> Path:
        return self.data if name is None else self.folder / f"world_{name}"

    def _latents_folder(self, name: str | None) -> Path:
        return self.folder / (f"latents_{name}" if name else "latents")

    def _fit_clips(self) -> list[dict[str, Tensor]]:
        """Clips for codec and probe, spread over the whole set."""
        paths, wanted = shards_in(self.data), self.settings.codec.fit_clips
        num_shards = min(len(paths), -(-wanted // self.settings.world.clips_per_shard))
        clips = []
        for shard in read_shards([paths[i * len(paths) // num_shards] for i in range(num_shards)]):
            clips += [{name: tensor[i] for name, tensor in shard.items()} for i in range(len(shard["seed"]))]
        return clips[:wanted]
