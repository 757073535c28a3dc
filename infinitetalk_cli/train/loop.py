"""The training loop: one transformer, batches numbered by step, resumable to an identical state.

Everything random about step n is drawn from (seed, n), and the learning rate is a function of n, so a checkpoint
is weights, their average and the optimiser.
"""

from __future__ import annotations

import copy
import json
import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from infinitetalk_cli.errors import InputError
from infinitetalk_cli.models.transformer import InfiniteTalkTransformer3DModel
from infinitetalk_cli.progress import Progress
from infinitetalk_cli.train.flow import audio_gain, flow_loss
from infinitetalk_cli.train.latents import Batch, ChunkSampler
from infinitetalk_cli.train.settings import FlowSettings, Phase, TransformerSettings

log = logging.getLogger(__name__)

_AUDIO_RATE_FACTOR = 2.0
"""Audio attention learns this much faster: sound is the weakest condition at the start."""
_GAIN_SAMPLES, _GAIN_FRAMES = 24, 21


def build_transformer(
    settings: TransformerSettings, latent_channels: int, audio_channels: int
) -> InfiniteTalkTransformer3DModel:
    """An untrained transformer in nano's layout, without text and image branches."""
    model = InfiniteTalkTransformer3DModel(
        in_channels=2 * latent_channels + 1,
        out_channels=latent_channels,
        num_attention_heads=settings.num_attention_heads,
        attention_head_dim=settings.attention_head_dim,
        ffn_dim=settings.ffn_dim,
        num_layers=settings.num_layers,
        text_dim=None,
        image_dim=None,
        audio_layers=1,
        audio_channels=audio_channels,
        audio_hidden_dim=settings.audio_hidden_dim,
        audio_token_dim=settings.audio_token_dim,
        audio_tokens=settings.audio_tokens,
        prediction_type="sample_residual",
    )
    model.reset_parameters()
    _open_gates(model)
    return model


@torch.no_grad()
def _open_gates(model: InfiniteTalkTransformer3DModel) -> None:
    """Begin as a plain pre-norm transformer: gates 1, no shift or scale, sound heard from the first step.

    With the small random gates of the large model's layout the blocks of a small one stay asleep: after 4 800
    samples the audio gain was still 0.1 %.
    """
    for block in model.blocks:
        block.scale_shift_table.zero_()
        block.scale_shift_table[:, [2, 5]] = 1.0
        torch.nn.init.xavier_uniform_(block.audio_cross_attn.proj.weight, gain=0.5)
    model.scale_shift_table.zero_()


@contextmanager
def training_attention(device: torch.device) -> Iterator[None]:
    """Attention by plain matrix products on the CPU: the backward pass of its fused kernel is far slower."""
    if device.type != "cpu":
        yield
        return
    before = torch.backends.cuda.fp16_bf16_reduction_math_sdp_allowed()
    torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(True)  # not only CUDA's, whatever the name says
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(before)


def phase_of(phases: tuple[Phase, ...], step: int) -> Phase:
    """The phase that `step` (from 0) belongs to."""
    for phase in phases:
        if step < phase.num_steps:
            return phase
        step -= phase.num_steps
    raise IndexError("no such step")


def learning_rate(settings: FlowSettings, step: int) -> float:
    """Linear warm-up, then half a cosine down to 2 %."""
    total = sum(phase.num_steps for phase in settings.phases)
    if step < settings.warmup_steps:
        return settings.learning_rate * (step + 1) / settings.warmup_steps
    share = (step - settings.warmup_steps) / max(1, total - settings.warmup_steps)
    return settings.learning_rate * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * share)))


class Trainer:
    """A model in training, its average (EMA) and its optimiser.

    `held_out` is a batch that is never trained on, for the audio gain; None leaves it out.
    """

    def __init__(
        self,
        model: InfiniteTalkTransformer3DModel,
        sampler: ChunkSampler,
        settings: FlowSettings,
        folder: Path,
        held_out: Batch | None = None,
        cpu: bool = False,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.settings, self.sampler, self.folder, self.held_out = settings, sampler, folder, held_out
        self.accelerator = Accelerator(mixed_precision=settings.precision, cpu=cpu)
        self.average = copy.deepcopy(model).eval().requires_grad_(False).to(self.accelerator.device)
        audio = [p for name, p in model.named_parameters() if "audio" in name]
        others = [p for name, p in model.named_parameters() if "audio" not in name]
        optimizer = torch.optim.AdamW(
            [{"params": others, "factor": 1.0}, {"params": audio, "factor": _AUDIO_RATE_FACTOR}],
            lr=settings.learning_rate,
            betas=(0.9, 0.98),
            weight_decay=settings.weight_decay,
            fused=True,
        )
        self.model, self.optimizer = self.accelerator.prepare(model, optimizer)
        self.step = 0
        self._resume()
        if settings.compile_blocks:
            for block in self.accelerator.unwrap_model(self.model).blocks:
                block.compile()

    @property
    def checkpoint(self) -> Path:
        """Where the state is kept."""
        return self.folder / "checkpoint.pt"

    def _resume(self) -> None:
        if not self.checkpoint.exists():
            return
        state = torch.load(self.checkpoint, map_location="cpu", weights_only=True)
        if state["seed"] != self.settings.seed:
            raise InputError(
                f"{self.checkpoint}: belongs to another training (seed {state['seed']}); use another --out"
            )
        self.accelerator.unwrap_model(self.model).load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]

    def save(self) -> None:
        """Write the checkpoint; an interrupted write leaves the old one."""
        if not self.accelerator.is_main_process:
            return
        state = {
            "model": self.accelerator.unwrap_model(self.model).state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "seed": self.settings.seed,
        }
        partial = self.checkpoint.with_suffix(".partial")
        torch.save(state, partial)
        partial.rename(self.checkpoint)

    def run(
        self,
        progress: Progress,
        stop_at: int | None = None,
        on_checkpoint: Callable[[InfiniteTalkTransformer3DModel, int], None] | None = None,
    ) -> None:
        """Train to the end of the last phase, or until step `stop_at`; `on_checkpoint` gets the average."""
        total = sum(phase.num_steps for phase in self.settings.phases)
        last = total if stop_at is None else min(stop_at, total)
        progress.start("training the transformer", total)
        progress.advance(self.step)
        started, recent = time.monotonic(), []
        while self.step < last:
            recent.append(self.train_step())
            progress.advance()
            if self.step % self.settings.checkpoint_every == 0 or self.step == last:
                self.save()
                self._record(sum(map(float, recent)) / len(recent), time.monotonic() - started, progress)
                recent = []
                if on_checkpoint is not None and self.accelerator.is_main_process:
                    on_checkpoint(self.average, self.step)

    def train_step(self) -> Tensor:
        """One update; the loss, detached."""
        phase = phase_of(self.settings.phases, self.step)
        process, count = self.accelerator.process_index, self.accelerator.num_processes
        number = self.step * count + process
        batch = self.sampler.batch(number, phase.chunk_frames, phase.batch_size, phase.crop_latents)
        batch = batch.to(self.accelerator.device)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.settings, self.step) * group["factor"]
        with training_attention(self.accelerator.device):
            with self.accelerator.autocast():
                loss = flow_loss(self.model, batch, self.settings.mouth_weight)
            self.accelerator.backward(loss)
        self.accelerator.clip_grad_norm_(self.model.parameters(), self.settings.gradient_clip)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.step += 1
        self._average()
        return loss.detach()

    @torch.no_grad()
    def _average(self) -> None:
        # A young average forgets faster, so that early exports are not the random start.
        decay = min(self.settings.ema_decay, (1 + self.step) / (10 + self.step))
        now = [p.detach() for p in self.accelerator.unwrap_model(self.model).parameters()]
        torch._foreach_lerp_(list(self.average.parameters()), now, 1 - decay)

    def _record(self, loss: float, seconds: float, progress: Progress) -> None:
        """Append one line to metrics.jsonl."""
        line = {"step": self.step, "loss": round(loss, 5), "learning_rate": learning_rate(self.settings, self.step)}
        line["seconds"] = round(seconds, 1)
        if self.held_out is not None:
            with self.accelerator.autocast():
                line["audio_gain"] = round(audio_gain(self.average, self.held_out.to(self.accelerator.device)), 4)
        if self.accelerator.is_main_process:
            with (self.folder / "metrics.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        progress.detail(", ".join(f"{name} {value}" for name, value in line.items()))
        log.info("%s", line)


def held_out_batch(paths: list[Path], settings: FlowSettings) -> Batch:
    """Chunks for the audio gain, drawn from latent shards that training does not use."""
    sampler = ChunkSampler(paths, settings.model_copy(update={"audio_dropout": 0.0, "first_chunk_share": 0.0}))
    return sampler.batch(0, _GAIN_FRAMES, _GAIN_SAMPLES)
