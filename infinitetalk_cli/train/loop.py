"""The training loop: any model and task, steps that are numbered, resumable to an identical state.

Everything random about step n is drawn from (seed, n), and the learning rate follows from n, so a checkpoint is the
trained weights, their average, the optimiser, and how far the training is. With a time budget the phase and the rate
of a step follow from the clock: the state is still resumed exactly, but how many steps fit in is up to the machine.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from infinitetalk_cli.errors import InputError, ResourceError, writing_to
from infinitetalk_cli.progress import Progress
from infinitetalk_cli.train.feed import BatchFeed
from infinitetalk_cli.train.metrics import Metrics
from infinitetalk_cli.train.optimizer import make_optimizer
from infinitetalk_cli.train.schedule import Place, learning_rate, place_at
from infinitetalk_cli.train.settings import OptimizerSettings, Phase

log = logging.getLogger(__name__)

_PREPARED_AHEAD = 6
"""Steps whose batches wait for a GPU; a CPU has no idle hands to prepare any."""

_MAY_CHANGE = {"hours", "checkpoint_every", "samples_every", "compile_blocks", "gradient_checkpointing"}
"""Settings that change how a training is run, but not what a given step does."""


class Task(Protocol):
    """What is trained on what; batches are dataclasses of tensors with a method `to`."""

    def batch(self, step: int, phase: Phase, part: int) -> Any:
        """Part `part` of the samples of step `step`, on the CPU."""

    def weight(self, batch: Any) -> Tensor:
        """What the errors of `batch` are divided by for their mean."""

    def error(self, model: nn.Module, batch: Any) -> Tensor:
        """Sum of the weighted errors of the samples in `batch`."""

    def figures(self, model: nn.Module, device: torch.device) -> dict[str, float]:
        """What is measured at every checkpoint."""


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


class Trainer:
    """A model in training, the average of its trained weights (EMA) and its optimiser.

    Weights that need no gradient stay as they are and out of the checkpoint.

    Raises:
        InputError: `folder` holds the checkpoint of another training.
    """

    def __init__(
        self, model: nn.Module, task: Task, settings: OptimizerSettings, folder: Path, cpu: bool = False
    ) -> None:
        with writing_to(folder):
            folder.mkdir(parents=True, exist_ok=True)
        self.settings, self.task, self.folder = settings, task, folder
        self.accelerator = Accelerator(mixed_precision=settings.precision, cpu=cpu)
        if settings.gradient_checkpointing:
            model.enable_gradient_checkpointing()
        optimizer = make_optimizer(model, settings)
        self.model, self.optimizer = self.accelerator.prepare(model, optimizer)
        self.weights = {n: p for n, p in self.bare_model.named_parameters() if p.requires_grad}
        self.average = {name: weight.detach().clone() for name, weight in self.weights.items()}
        self.step, self.seconds = 0, 0.0
        self._resume()
        if settings.compile_blocks:
            for block in self.bare_model.blocks:
                block.compile()
        self._feed = BatchFeed(self._batches, ahead=0 if self.device.type == "cpu" else _PREPARED_AHEAD)

    @property
    def bare_model(self) -> nn.Module:
        """The model without what accelerate wraps around it."""
        return self.accelerator.unwrap_model(self.model)

    @property
    def device(self) -> torch.device:
        """Where it trains."""
        return self.accelerator.device

    @property
    def checkpoint(self) -> Path:
        """Where the state is kept."""
        return self.folder / "checkpoint.pt"

    @property
    def place(self) -> Place:
        """Where the next step stands; the same in every process."""
        return place_at(self.settings, self.step, self.seconds)

    @contextmanager
    def averaged(self) -> Iterator[nn.Module]:
        """The bare model with the averaged weights, for evaluation and export; uncompiled."""
        own = {name: weight.data for name, weight in self.weights.items()}
        was_training = self.bare_model.training
        for name, weight in self.weights.items():
            weight.data = self.average[name]
        try:
            # Other lengths of chunks would be compiled anew; and to ask takes seconds where nothing is compiled.
            with torch.compiler.set_stance("force_eager") if self.settings.compile_blocks else nullcontext():
                yield self.bare_model.eval()
        finally:
            for name, weight in self.weights.items():
                weight.data = own[name]
            self.bare_model.train(was_training)

    def run(
        self,
        progress: Progress,
        stop_at: int | None = None,
        on_checkpoint: Callable[[Trainer], None] | None = None,
    ) -> None:
        """Train to the end of the schedule, or until step `stop_at`.

        `on_checkpoint` is called in the main process, before the checkpoint counts.
        """
        by_time, metrics = self.settings.hours is not None, None
        if self.accelerator.is_main_process:
            metrics = Metrics(self.folder, self.step)
        total = int(3600 * self.settings.hours) if by_time else self.settings.num_steps
        progress.start("training the transformer", total, int(self.seconds) if by_time else self.step)
        began, before, recent = time.monotonic(), self.seconds, []
        while not self.place.is_over and (stop_at is None or self.step < stop_at):
            recent.append(self.train_step())
            earlier, self.seconds = self.seconds, self._agreed(before + time.monotonic() - began)
            progress.advance(int(self.seconds) - int(earlier) if by_time else 1)
            is_last = self.place.is_over or self.step == stop_at
            if self.step % self.settings.checkpoint_every == 0 or is_last:
                self._checkpoint(metrics, recent, progress, on_checkpoint)
                recent = []
        self._feed.close()

    def train_step(self) -> Tensor:
        """One update; this process's share of the loss, detached: the mean over processes is that of all samples."""
        place = self.place
        batches = self._feed.batches(self.step, place.phase)
        weights = torch.stack([self.task.weight(batch) for batch in batches])
        total = self.accelerator.reduce(weights.sum().to(self.device), reduction="sum")
        rate = learning_rate(self.settings, self.step, place.share)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["factor"]
        self.model.train()
        errors = []
        # Processes average their gradients: the mean over all samples of all of them is meant.
        scale = self.accelerator.num_processes / total
        for number, batch in enumerate(batches, start=1):
            waits = self.accelerator.no_sync(self.model) if number < len(batches) else nullcontext()
            with waits, training_attention(self.device):
                with self.accelerator.autocast():
                    error = self.task.error(self.model, batch.to(self.device))
                self.accelerator.backward(error * scale)
            errors.append(error.detach())
        self.accelerator.clip_grad_norm_(self.weights.values(), self.settings.gradient_clip)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.step += 1
        self._average()
        return torch.stack(errors).sum() * scale

    def parts(self) -> list[int]:
        """Numbers of the parts of a step that this process computes."""
        accumulate = self.settings.accumulate
        first = self.accelerator.process_index * accumulate
        return list(range(first, first + accumulate))

    def _batches(self, step: int, phase: Phase) -> list[Any]:
        return [self.task.batch(step, phase, part) for part in self.parts()]

    def save(self) -> None:
        """Write the checkpoint; an interrupted write leaves the old one."""
        state = {
            "model": {name: weight.detach() for name, weight in self.weights.items()},
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
            "seed": self.settings.seed,
            "settings": self._identity(),
        }
        partial = self.checkpoint.with_suffix(".partial")
        with writing_to(self.checkpoint):
            torch.save(state, partial)
            partial.rename(self.checkpoint)

    def _resume(self) -> None:
        if not self.checkpoint.exists():
            return
        state = torch.load(self.checkpoint, map_location="cpu", weights_only=True)
        self._check_identity(state)
        with torch.no_grad():
            for name, weight in self.weights.items():
                weight.copy_(state["model"][name])
                self.average[name].copy_(state["average"][name])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.seconds = state["step"], state.get("seconds", 0.0)

    def _identity(self) -> dict[str, Any]:
        """The settings that a checkpoint belongs to."""
        return self.settings.model_dump(mode="json", exclude=_MAY_CHANGE) | {"by_time": self.settings.hours is not None}

    def _check_identity(self, state: dict[str, Any]) -> None:
        own = self._identity()
        saved = state.get("settings", {"seed": state["seed"]})  # checkpoints of the first version know their seed only
        changed = [name for name, value in saved.items() if own.get(name, value) != value]
        if changed:
            what = changed[0]
            if what == "by_time":
                raise InputError(
                    f"{self.checkpoint}: was {'' if saved[what] else 'not '}begun with hours; go on like that"
                )
            raise InputError(
                f"{self.checkpoint}: belongs to another training (flow.{what} was {saved[what]}, and is {own[what]}); "
                "use another --out, or restore the setting"
            )
        if set(state["model"]) != set(self.weights):
            raise InputError(f"{self.checkpoint}: holds other weights than this model has; use another --out")

    @torch.no_grad()
    def _average(self) -> None:
        # A young average forgets faster, so that early exports are not the random start.
        decay = min(self.settings.ema_decay, (1 + self.step) / (10 + self.step))
        now = [weight.detach() for weight in self.weights.values()]
        torch._foreach_lerp_(list(self.average.values()), now, 1 - decay)

    def _agreed(self, seconds: float) -> float:
        """The main process's clock, in all of them."""
        if self.accelerator.num_processes == 1 or self.settings.hours is None:
            return seconds
        from accelerate.utils import broadcast

        return float(broadcast(torch.tensor(seconds, device=self.device)))

    def _checkpoint(
        self,
        metrics: Metrics | None,
        recent: list[Tensor],
        progress: Progress,
        on_checkpoint: Callable[[Trainer], None] | None,
    ) -> None:
        """Figures and exports first, the state last: a run that dies in between makes them again, and the same."""
        loss = float(self.accelerator.reduce(torch.stack(recent).mean(), reduction="mean"))
        if not torch.isfinite(torch.tensor(loss)):
            raise ResourceError(
                f"{self.folder}: the loss is no number at step {self.step}; the last checkpoint is kept: lower "
                "flow.learning_rate, and begin again in another --out"
            )
        if metrics is not None:
            figures = {"loss": round(loss, 5), "learning_rate": self.optimizer.param_groups[0]["lr"]}
            with self.averaged() as model, self.accelerator.autocast():
                found = self.task.figures(model, self.device)
            figures |= {name: round(value, 4) for name, value in found.items()}
            figures["seconds"] = round(self.seconds, 1)
            metrics.add(self.step, figures)
            progress.detail(", ".join(f"{name} {value:.5g}" for name, value in figures.items()))
            log.info("step %d: %s", self.step, figures)
            if on_checkpoint is not None:
                on_checkpoint(self)
            self.save()
        self.accelerator.wait_for_everyone()
