"""What each saving of the transformer is worth on this machine: `python tests/bench/savings.py`, some minutes.

Seconds are processor time of one thread, which other programs disturb little; both sides of a comparison take turns,
and the best of several is compared. Random weights, `infinitetalk bench`'s mid size on the CPU.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from infinitetalk_cli.bench.build import empty_transformer, fill_randomly, random_inputs
from infinitetalk_cli.bench.measure import describe_machine
from infinitetalk_cli.bench.settings import CPU_LATENT, SIZES, BenchSettings
from infinitetalk_cli.models.attention import rotate, rotation_3d
from infinitetalk_cli.models.prepared import Attended
from infinitetalk_cli.models.step_cache import BlockResiduals
from infinitetalk_cli.models.transformer import InfiniteTalkTransformer3DModel

CPU = torch.device("cpu")


def compare(what: str, without: Callable[[], Any], with_it: Callable[[], Any], repeats: int) -> None:
    """Print seconds of both, and their ratio."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for repeat in range(1 + repeats):
        for taken, run in zip(seconds, (without, with_it), strict=True):
            began_s = time.process_time()
            run()
            if repeat:
                taken.append(time.process_time() - began_s)
    slow, quick = map(min, seconds)
    print(f"{what}: {slow:.3f} s -> {quick:.3f} s, ratio {quick / slow:.3f}", flush=True)


def settings(people: int, options: argparse.Namespace) -> BenchSettings:
    return BenchSettings(
        size="mid", dimensions=SIZES["mid"], latent=tuple(options.latent), people=people, dtype=options.dtype,
        quantization="none", attention="sdpa", compile=False, offload="none", repeats=1,
    )  # fmt: skip


class Case:
    """The transformer with inputs for one or two people, and the three branches of full guidance."""

    def __init__(self, transformer: InfiniteTalkTransformer3DModel, people: int, options: argparse.Namespace) -> None:
        self.transformer = transformer
        self.inputs = random_inputs(transformer, settings(people, options), CPU)
        (self.full,) = self.inputs.pop("prepared")
        silence = Attended(torch.zeros_like(self.full.audio._embeddings[:1]))
        negative = Attended(-self.full.text._embeddings)
        unheard = self.full._replace(text=negative, audio=silence, num_people=1)
        self.branches = (self.full, self.full._replace(text=negative), unheard)

    def run(self, **arguments: Any) -> None:
        self.transformer(**{**self.inputs, "prepared": (self.full,), **arguments})

    def fresh(self) -> None:
        """A forward that makes all keys anew."""
        again = self.full._replace(
            text=Attended(self.full.text._embeddings),
            image=Attended(self.full.image._embeddings),
            audio=Attended(self.full.audio._embeddings),
        )
        self.run(prepared=(again,))

    def fresh_table(self) -> None:
        """A forward that makes the rotary table anew."""
        rotation_3d.cache_clear()
        self.run()


def rotate_by_parts(pairs: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    even, odd = pairs.unflatten(-1, (-1, 2)).unbind(-1)
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), dim=-1).flatten(-2)


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--latent", type=int, nargs=3, default=CPU_LATENT, metavar=("T", "H", "W"))
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    compared = partial(compare, repeats=options.repeats)
    torch.set_num_threads(1)
    print(describe_machine("cpu").model_dump_json())
    transformer = empty_transformer(SIZES["mid"])
    fill_randomly(transformer, CPU, getattr(torch, options.dtype))
    one, two = (Case(transformer, people, options) for people in (1, 2))
    compared("keys kept (forward)", one.fresh, one.run)
    compared("rotary table kept (forward)", one.fresh_table, one.run)
    rotation = rotation_3d(settings(1, options).grid, transformer.config.attention_head_dim, CPU)
    pairs = torch.randn(1, rotation.cos.shape[1], transformer.config.num_attention_heads, 128)
    compared(
        "rotation by complex numbers (alone)",
        lambda: rotate_by_parts(pairs, *rotation),
        lambda: rotate(pairs, rotation),
    )
    for case, who in ((one, "one person"), (two, "two people")):
        compared(
            f"three branches in one call ({who}, step)",
            lambda case=case: [case.run(prepared=(branch,)) for branch in case.branches],
            lambda case=case: case.run(prepared=case.branches),
        )
        compared(
            f"batch_guidance ({who}, step)",
            lambda case=case: case.run(prepared=case.branches),
            lambda case=case: case.run(prepared=case.branches, batch_branches=True),
        )
    residuals = BlockResiduals()
    one.run(residuals=residuals)
    compared(
        "step skipped by step caching (forward)", one.run, lambda: one.run(residuals=residuals, reuse_residuals=True)
    )
    compared("one person instead of two (forward)", two.run, one.run)


if __name__ == "__main__":
    main()
