"""Every step that makes a LoRA of the large model from a folder of videos, in order and resumable.

latents      clips, captions and speech, encoded     videos/
flow         adapters on the frozen transformer      flow/
export       the file for `dub --lora`               NAME.safetensors
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import torch
from accelerate import PartialState
from torch import Tensor

from infinitetalk_cli.cache.fingerprint import fingerprint
from infinitetalk_cli.checkpoints.files import AUDIO_ENCODER, CODEC, IMAGE_ENCODER, TEXT_ENCODER, ModelFiles
from infinitetalk_cli.checkpoints.locate import locate_model
from infinitetalk_cli.config.load import load_profile
from infinitetalk_cli.config.profile import ComputeProfile, MemoryProfile
from infinitetalk_cli.errors import InputError, ProfileError
from infinitetalk_cli.models.published import PublishedModel
from infinitetalk_cli.progress import Progress
from infinitetalk_cli.train.adapters import add_adapters, write_lora
from infinitetalk_cli.train.faces import EXTRA, face_finder
from infinitetalk_cli.train.loop import Trainer
from infinitetalk_cli.train.lora_settings import LoraSettings
from infinitetalk_cli.train.published_clips import ClipEncoder, caption, embedded_texts, published_encoder
from infinitetalk_cli.train.published_flow import ClipSampler, PublishedTask
from infinitetalk_cli.train.samples import NUM_ROWS, sample_grid, write_grid
from infinitetalk_cli.train.settings import Phase
from infinitetalk_cli.train.steps import run_steps
from infinitetalk_cli.train.video_cache import Prepared, cache_folder, prepare_videos
from infinitetalk_cli.train.videos import SourceFile, find_videos

log = logging.getLogger(__name__)

STEPS = ("latents", "flow", "export")
_HELD_OUT_SAMPLES = 4


class LoraRecipe:
    """One LoRA in the making, in `folder`, from the videos in `data`.

    Raises:
        ProfileError: the profile's model is not of the kind that has LoRAs.
        DependencyError: its weights are missing.
    """

    def __init__(
        self,
        settings: LoraSettings,
        folder: Path,
        progress: Progress,
        data: Path,
        weights_root: Path,
        cpu: bool = False,
    ) -> None:
        self.settings, self.folder, self.progress, self.data, self.cpu = settings, folder, progress, data, cpu
        profile = load_profile(settings.model)
        if profile.model.family != "infinitetalk":
            raise ProfileError(
                f"model: profile {settings.model} names a {profile.model.family} model, which has no LoRA"
            )
        self._files: ModelFiles = locate_model(profile.model, weights_root)
        self._compute = ComputeProfile(dtype=settings.dtype, vae_dtype=profile.compute.vae_dtype)

    @property
    def weights(self) -> Path:
        """What the last step makes."""
        return self.folder / f"{self.settings.name}.safetensors"

    def run(self, steps: Sequence[str] = STEPS) -> None:
        """Run `steps` in the order of `STEPS`; of several processes only training is done by all."""
        run_steps(self, [name for name in STEPS if name in steps], together=("flow",), cpu=self.cpu)

    def latents(self) -> None:
        """Encode all clips and captions."""
        self._texts(self._prepared)

    def flow(self) -> None:
        """Train the adapters; the checkpoint holds them, their average and the optimiser, not the frozen base."""
        settings, prepared = self.settings, self._prepared
        texts, captions = self._texts(prepared), self._captions(prepared)
        sampler = ClipSampler(prepared.shards, captions, texts, settings.flow)
        held_out = None
        if prepared.held_out:
            judged = settings.flow.model_copy(update={"audio_dropout": 0.0, "text_dropout": 0.0})
            one = Phase(num_steps=1, chunk_frames=settings.flow.phases[0].chunk_frames, batch_size=_HELD_OUT_SAMPLES)
            held_out = ClipSampler(prepared.held_out, captions, texts, judged).batch(0, one)
        model = self._published.transformer()
        add_adapters(model, settings.lora, settings.flow.seed)
        task = PublishedTask(sampler, settings.flow, held_out)
        trainer = Trainer(model, task, settings.flow, self.folder / "flow", cpu=self.cpu)
        trainer.run(self.progress, on_checkpoint=lambda trainer: self._keep(trainer, task))

    def export(self) -> None:
        """Write the LoRA file from the newest checkpoint's average."""
        checkpoint = self.folder / "flow" / "checkpoint.pt"
        if not checkpoint.exists():
            raise InputError(f"{self.folder}: has no checkpoint yet; run step flow first")
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)
        write_lora(self.weights, state["average"], self.settings.lora, self.settings.model)

    @cached_property
    def _device(self) -> torch.device:
        return PartialState(cpu=self.cpu).device

    @cached_property
    def _published(self) -> PublishedModel:
        return PublishedModel(self._files, self._device, self._compute, MemoryProfile())

    @cached_property
    def _prepared(self) -> Prepared:
        """The videos, encoded; what is encoded already is not encoded again."""
        settings, root = self.settings, self.folder / "videos"
        faces = face_finder(settings.videos.crop)
        if faces is None and settings.videos.crop == "auto":
            self.progress.note(f"no face detector installed: whole pictures are trained on ({EXTRA} for faces)")
        names = (CODEC, IMAGE_ENCODER, AUDIO_ENCODER)
        weights = [file for name in names for file in self._files.networks[name].weights]
        flow = settings.flow
        folder = cache_folder(
            root, settings.videos, weights, faces=faces is not None, dtype=settings.dtype, reference=flow.reference,
            references=flow.references_per_clip, chunk_frames=flow.phases[0].chunk_frames,
        )  # fmt: skip

        def load() -> ClipEncoder:
            model = self._published
            return ClipEncoder(settings, model.codec(), model.image_encoder(), model.audio_encoder(), self._device)

        encode = published_encoder(settings, load, faces, self.progress)
        return prepare_videos(self._sources, folder, encode, settings.videos.held_out_share, self.progress)

    @cached_property
    def _sources(self) -> list[SourceFile]:
        return find_videos(self.data, self.folder / "videos" / "hashes")

    def _captions(self, prepared: Prepared) -> dict[Path, str]:
        """The caption of every clip file."""
        said = {file.digest[:24]: caption(file, self.settings.prompt) for file in self._sources}
        return {path: said[path.name.split("-")[1]] for path in (*prepared.shards, *prepared.held_out)}

    def _texts(self, prepared: Prepared) -> dict[str, Tensor]:
        texts = {"", *self._captions(prepared).values()}
        encoder = [file.name for file in self._files.networks[TEXT_ENCODER].weights]

        def name_of(text: str) -> str:
            return fingerprint({"text": text, "encoder": encoder, "dtype": self.settings.dtype})

        return embedded_texts(texts, self.folder / "videos" / "texts", name_of, self._published.text_encoder)

    def _keep(self, trainer: Trainer, task: PublishedTask) -> None:
        every = self.settings.flow.samples_every
        if every is None or trainer.step % every:
            return
        with trainer.averaged() as model:
            made = task.samples(model, trainer.device, NUM_ROWS)
        if made is not None:
            batch, latents = made
            picture = sample_grid(self._published.codec(), batch.reference, batch.clean, latents)
            write_grid(self.folder / "flow" / "samples", trainer.step, picture)
