"""Chunks that a team of real processes makes, and that one process makes to compare; run by `test_team.py`.

All trials share four processes, which are started once (`start`), use gloo on the CPU, and leave what they saw in
files.
"""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

sys.path.insert(0, str(Path(__file__).parent))

from tiny_models import NANO, PUBLISHED, MeanCodec, make_control, make_transformer

from infinitetalk_cli.errors import InfiniteTalkError
from infinitetalk_cli.models.camera_control import ControlSettings, ControlVideo
from infinitetalk_cli.models.compiling import compile_blocks
from infinitetalk_cli.models.dubbing_model import ChunkConditions, DubbingModel
from infinitetalk_cli.models.offload import offload_blocks, offload_layers
from infinitetalk_cli.models.parallel import ParallelTransformer, TeamGroups, TeamShape, follow
from infinitetalk_cli.models.parallel.member import TeamMember
from infinitetalk_cli.models.prepared import Attended, PreparedConditions
from infinitetalk_cli.models.quantize import make_quantizer
from infinitetalk_cli.models.sampler_state import SamplerState
from infinitetalk_cli.models.sampling import chunk_noise
from infinitetalk_cli.models.sampling_settings import SamplingSettings
from infinitetalk_cli.models.step_cache import StepCacheSettings
from infinitetalk_cli.models.streaming import denoise
from infinitetalk_cli.models.transformer import InfiniteTalkTransformer3DModel
from infinitetalk_cli.progress import SilentProgress

CPU = torch.device("cpu")
NUM_PROCESSES = 4
ODD, EVEN = (3, 6, 10), (2, 4, 8)
"""Latent sizes of 45 and of 16 tokens: stretches of the first begin and end inside its frames of 15."""
PLAIN = SamplingSettings(num_steps=3, timestep_shift=3.0)
THREE = replace(PLAIN, text_guidance_scale=5.0, audio_guidance_scale=4.0)
SKIPS = StepCacheSettings(1.0, (0.0, 0.6), warmup_steps=1)  # runs, skips, runs ...
CACHED = replace(THREE, num_steps=5, step_cache=SKIPS)
STEERED = replace(THREE, control=ControlSettings(0.7, 0.3, 1.0))
DEADLINE_S = 240.0
"""Of all trials, on a machine that is busy with other things, too."""
HANG_S = 1.0
"""How long the processes of the trials wait for one that hangs."""


@dataclass(frozen=True)
class Trial:
    """A job of some chunks, and the team that makes it."""

    guidance: int = 1
    sequence: int = 1
    settings: SamplingSettings = THREE
    sizes: tuple[tuple[int, int, int], ...] = (ODD,)
    people: int = 1
    heads: int = 2
    kind: str = "published"
    weights: str = "plain"
    camera: bool = False

    @property
    def num_processes(self) -> int:
        return self.guidance * self.sequence

    def transformer(self) -> InfiniteTalkTransformer3DModel:
        config = NANO if self.kind == "nano" else PUBLISHED
        transformer = make_transformer(**{**config, "num_attention_heads": self.heads})
        if self.weights == "bfloat16":
            transformer.to(torch.bfloat16)
        elif self.weights == "int8":
            quantize = make_quantizer("int8", CPU, torch.float32)
            for name, module in transformer.named_modules():
                quantize(f"{name}.weight", module)
        elif self.weights == "offloaded":
            offload_blocks(transformer, CPU, with_stream=False)
        elif self.weights == "compiled":
            compile_blocks(transformer, backend="eager")
        return transformer

    def control(self) -> Any:
        if not self.camera:
            return None
        width = 12 * self.heads
        control = make_control(num_heads=4, time_embed_dim=width, out_dim=width)
        if self.weights == "offloaded":
            offload_layers(control, CPU)
        return control

    def model(self, transformer: Any, control: Any) -> DubbingModel:
        if self.kind == "nano":
            return DubbingModel(transformer, MeanCodec(), control=control)
        generator = torch.Generator().manual_seed(5)
        return DubbingModel(
            transformer,
            MeanCodec(),
            image_encoder=lambda frame: frame.mean(dim=(1, 3, 4))[..., None].expand(1, 9, 8),
            text=torch.randn(1, 5, 10, generator=generator),
            negative_text=torch.randn(1, 2, 10, generator=generator),
            control=control,
        )

    def conditions(self, index: int) -> ChunkConditions:
        """Of the chunk `index`."""
        size = self.sizes[index]
        num_frames = 1 + 4 * (size[0] - 1)
        generator = torch.Generator().manual_seed(index)

        def pixels(frames: int) -> Tensor:
            coarse = torch.rand(1, 3, frames, *size[1:], generator=generator) * 2 - 1
            return coarse.repeat_interleave(8, dim=3).repeat_interleave(8, dim=4)

        masks = torch.zeros(3, *size[1:])
        third = size[2] // 3
        masks[0, :, :third], masks[1, :, -third:], masks[2, :, third:-third] = 1, 1, 1
        video = None
        if self.camera:
            camera = torch.randn(1, 6, num_frames, 8 * size[1], 8 * size[2], generator=generator)
            video = ControlVideo(pixels(num_frames), (camera[:, :1] > 1).float(), camera)
        return ChunkConditions(
            reference=pixels(1),
            audio=torch.randn(self.people, num_frames, 5, 2, 6, generator=generator),
            noise=chunk_noise(1, 0, index, 0, (1, 4, *size)),
            context=pixels(5),
            person_masks=masks if self.people == 2 else None,
            control=video,
        )

    def latents(self, transformer: Any, control: Any, keepers: list[Keeper] | None = None) -> list[Tensor]:
        """Of all chunks, one after the other, by one model."""
        model = self.model(transformer, control)
        keepers = keepers or [Keeper() for _ in self.sizes]
        return [
            denoise(model, self.conditions(index), self.settings, SilentProgress(), keeper)
            for index, keeper in enumerate(keepers)
        ]


@dataclass
class Keeper:
    """Keeps a copy of every state that has residuals of step caching; gives back the one after `resume_after` steps."""

    resume_after: int = 0
    states: dict[int, dict[str, Tensor]] = field(default_factory=dict)

    def kept(self, _key: Any) -> SamplerState | None:
        if self.resume_after not in self.states:
            return None
        return SamplerState.from_tensors(self.resume_after, self.states[self.resume_after])

    def offer(self, _key: Any, state: SamplerState) -> None:
        assert state.num_bytes >= state.latents.nbytes
        if len(state.residuals):
            self.states[state.num_done] = {name: tensor.clone() for name, tensor in state.tensors().items()}
            assert sum(tensor.nbytes for tensor in state.tensors().values()) == state.num_bytes


TRIALS = {
    "two stretches": Trial(sequence=2),
    "even tokens and heads": Trial(sequence=2, sizes=(EVEN,), people=2),
    "one forward": Trial(sequence=2, settings=PLAIN),
    "sizes that change": Trial(sequence=2, sizes=(ODD, EVEN, (2, 6, 10), ODD), people=2, camera=True, settings=STEERED),
    "three heads": Trial(sequence=2, heads=3, people=2),
    "three heads on four": Trial(sequence=4, heads=3, people=2),
    "four on four": Trial(sequence=4, heads=4, sizes=(EVEN,), people=2, camera=True, settings=STEERED),
    "three forwards on two": Trial(guidance=2, people=2, settings=CACHED),
    "three forwards on three": Trial(guidance=3, camera=True, settings=STEERED),
    "more processes than forwards": Trial(guidance=2, settings=PLAIN),
    "one batch": Trial(sequence=2, people=2, settings=replace(CACHED, batch_guidance=True)),
    "two by two": Trial(2, 2, people=2, settings=replace(CACHED, batch_guidance=True)),
    "everything": Trial(
        2, 2, heads=3, people=2, camera=True, sizes=(ODD, EVEN), settings=replace(CACHED, control=STEERED.control)
    ),
    "nano": Trial(sequence=2, kind="nano", settings=replace(PLAIN, audio_guidance_scale=4.0)),
    "weights that wait elsewhere": Trial(sequence=2, weights="offloaded", camera=True, settings=STEERED),
    "8-bit weights": Trial(sequence=2, weights="int8"),
    "half precision": Trial(sequence=2, weights="bfloat16"),
}
SLOW_TRIALS = {"compiled blocks": Trial(sequence=2, weights="compiled", people=2)}


def start(folder: Path, trials: Mapping[str, Trial] = TRIALS) -> list[int | None]:
    """Run `trials` and what comes after them; exit codes of the processes, in their order."""
    context = torch.multiprocessing.get_context("forkserver")
    # What takes seconds to import is imported once for all.
    context.set_forkserver_preload(
        [__name__, "diffusers.models.transformers", "diffusers.loaders.peft", "torchao.quantization"]
    )
    processes = [context.Process(target=work, args=(rank, folder, trials)) for rank in range(NUM_PROCESSES)]
    for process in processes:
        process.start()
    deadline = time.monotonic() + DEADLINE_S
    for process in processes:
        process.join(max(0.0, deadline - time.monotonic()))
    for process in processes:
        if process.is_alive():
            process.kill()
    return [process.exitcode for process in processes]


def work(rank: int, folder: Path, trials: Mapping[str, Trial]) -> None:
    """One of the processes."""
    torch.set_num_threads(1)
    try:
        dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=NUM_PROCESSES)
        for name, trial in trials.items():
            try_out(name, trial, rank, folder)
        if trials == TRIALS:
            measure_forwards(rank, folder)
            resume_elsewhere(rank, folder)
            lose_a_process(rank, folder)
    except BaseException:
        (folder / f"error.{rank}").write_text(traceback.format_exc())
        raise


def teams_of(trial: Trial) -> list[TeamShape]:
    """As many teams as fit, all of which do the same beside each other, and the remaining processes alone."""
    size = trial.num_processes
    starts = range(0, NUM_PROCESSES - size + 1, size)
    teams = [TeamShape(tuple(range(start, start + size)), trial.guidance, trial.sequence) for start in starts]
    return teams + [TeamShape((rank,)) for rank in range(len(starts) * size, NUM_PROCESSES)]


def try_out(name: str, trial: Trial, rank: int, folder: Path) -> None:
    groups = TeamGroups.make(teams_of(trial), CPU)
    transformer, control = trial.transformer(), trial.control()
    seen: dict[str, Any] = {"outputs": [], "place": groups.place(groups.index), "alone": groups.size == 1}
    streams: list[tuple[Tensor, ...]] = []
    transformer.blocks[-1].register_forward_hook(lambda _module, _inputs, output: streams.append(output))
    with outputs_into(seen["outputs"]), BytesReceived(rank) as received:
        if groups.is_leader:
            with ParallelTransformer(transformer, groups) as parallel:
                seen["latents"] = trial.latents(parallel, control)
            traffic = parallel.traffic
        else:
            traffic = follow(transformer, groups, control)
    seen.update(streams=streams, traffic=traffic, received_bytes=received.total)
    torch.save(seen, folder / f"{name}.{rank}")


def saved(folder: Path, name: str, rank: int) -> Any:
    """What process `rank` saw in the trial `name`."""
    return torch.load(folder / f"{name}.{rank}", weights_only=False)


@contextmanager
def outputs_into(found: list[Tensor]) -> Iterator[None]:
    """What this process has at the end of every forward."""
    plain = TeamMember.evaluate

    def evaluate(*arguments: Any) -> Tensor:
        found.append(plain(*arguments))
        return found[-1]

    TeamMember.evaluate = evaluate
    try:
        yield
    finally:
        TeamMember.evaluate = plain


class BytesReceived(TorchDispatchMode):
    """Counts what torch's own collectives bring to this process, whoever calls them."""

    def __init__(self, rank: int) -> None:
        super().__init__()
        self.total, self._global_rank = 0, rank

    def __torch_dispatch__(self, function: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = function.name().split("::", 1)
        if name[0] in ("c10d", "_c10d_functional"):
            self.total += self._bytes(name[1], args)
        return function(*args, **(kwargs or {}))

    def _bytes(self, name: str, args: Any) -> int:
        match name:
            case "alltoall_base_":
                received, _, group, sizes, *_ = args
                rank = dist.ProcessGroup.unbox(group).rank()
                return (received.numel() - sizes[rank]) * received.element_size()
            case "all_to_all_single":
                x, sizes, _, group = args
                return x.nbytes * (dist.distributed_c10d._resolve_process_group(group).size() - 1) // len(sizes)
            case "broadcast_":
                (x,), group, source, *_ = args
                return 0 if dist.ProcessGroup.unbox(group).rank() == source else x.nbytes
            case "allgather_":
                (received,), (own,), *_ = args
                return sum(piece.nbytes for piece in received) - own.nbytes
            case "allreduce_":
                (x,), group, *_ = args
                return x.nbytes * (dist.ProcessGroup.unbox(group).size() - 1)
            case "wait_tensor" | "_wrap_tensor_autograd":
                return 0
        raise AssertionError(f"{name} is not counted")


def forward_inputs(trial: Trial, seed: int) -> dict[str, Any]:
    """One forward of three branches, without a codec."""
    conditions, config = trial.conditions(0), PUBLISHED
    generator = torch.Generator().manual_seed(seed)
    texts = [Attended(torch.randn(1, 5, config["text_dim"], generator=generator)) for _ in range(2)]
    image = Attended(torch.randn(1, 9, config["image_dim"], generator=generator))
    sound, silence = Attended(conditions.audio), Attended(torch.zeros_like(conditions.audio[:1]))
    return {
        "condition": torch.randn(1, 8, *trial.sizes[0], generator=generator),
        "person_masks": conditions.person_masks,
        "prepared": (
            PreparedConditions(texts[0], image, sound, trial.people),
            PreparedConditions(texts[1], image, sound, trial.people),
            PreparedConditions(texts[1], image, silence, 1),
        ),
    }


MEASURED = {
    "uneven": Trial(sequence=4, heads=3, people=2),
    "even": Trial(sequence=4, heads=4, sizes=(EVEN,), people=2),
    "even, one person": Trial(2, 2, heads=4, sizes=(EVEN,)),
}


def measure_forwards(rank: int, folder: Path) -> None:
    """Three forwards on the same conditions, and one after a change in place: what each brought, by purpose."""
    for name, trial in MEASURED.items():
        groups = TeamGroups.make(teams_of(trial), CPU)
        found = []
        plain = TeamMember.evaluate

        def evaluate(member: TeamMember, *arguments: Any, found: list = found, plain: Any = plain) -> Tensor:
            output = plain(member, *arguments)
            found.append(dict(member.traffic.received))
            return output

        TeamMember.evaluate = evaluate
        try:
            if groups.is_leader:
                with torch.no_grad(), ParallelTransformer(trial.transformer(), groups) as parallel:
                    inputs = forward_inputs(trial, 0)
                    outputs = []
                    for step in range(4):
                        if step == 3:
                            inputs["condition"].mul_(2)
                        latents = chunk_noise(2, 0, step, 0, (1, 4, *trial.sizes[0]))
                        outputs.append(parallel(latents, torch.tensor([700.0 - step]), **inputs).sample)
                torch.save(outputs, folder / f"measured outputs {name}.{rank}")
            else:
                follow(trial.transformer(), groups)
        finally:
            TeamMember.evaluate = plain
        torch.save(found, folder / f"measured {name}.{rank}")


def resume_elsewhere(rank: int, folder: Path) -> None:
    """A chunk with step caching goes on from each snapshot of another team, of one process, and the other way round."""
    trial = TRIALS["two by two"]
    four = TeamGroups.make([TeamShape((0, 1, 2, 3), 2, 2)], CPU)
    two = TeamGroups.make([TeamShape((0, 1), 1, 2), TeamShape((2, 3), 1, 2)], CPU)
    states: dict[int, dict[str, Tensor]] = {}
    for name, groups in (("four", four), ("two", two)):
        transformer = trial.transformer()
        if not groups.is_leader:
            follow(transformer, groups)
            continue
        with ParallelTransformer(transformer, groups) as parallel:
            if name == "two" and not states:  # the second team has no snapshots of the first one's
                trial.latents(parallel, None)
                continue
            keeper = Keeper()
            uninterrupted = trial.latents(parallel, None, [keeper])
            resumed = [trial.latents(parallel, None, [Keeper(step, keeper.states)]) for step in keeper.states]
            foreign = [trial.latents(parallel, None, [Keeper(step, dict(states))]) for step in states]
            plain = [trial.latents(trial.transformer(), None, [Keeper(step, keeper.states)]) for step in keeper.states]
        states = keeper.states
        torch.save(
            {
                "uninterrupted": uninterrupted[0],
                "states": states,
                "resumed": [latents for (latents,) in resumed],
                "foreign": [latents for (latents,) in foreign],
                "one process": [latents for (latents,) in plain],
            },
            folder / f"resume {name}",
        )


def lose_a_process(rank: int, folder: Path) -> None:
    """In two teams side by side, a follower hangs; in two others a follower and a leader end in a forward's middle."""
    trial = TRIALS["two stretches"]
    pairs = [TeamShape((0, 1), 1, 2), TeamShape((2, 3), 1, 2)]
    hanging = TeamGroups.make(pairs, CPU, timeout_s=HANG_S)
    transformer = trial.transformer()
    if not hanging.is_leader:
        transformer.blocks[1].register_forward_pre_hook(lambda *_: time.sleep(3 * HANG_S))
    torch.save(met_with(partial(take_part, trial, transformer, hanging)), folder / f"hangs.{rank}")
    dist.barrier()  # all of the first teams are over
    dying = TeamGroups.make(pairs, CPU)
    transformer = trial.transformer()
    if rank in (1, 2):  # the follower of the first team, the leader of the second
        transformer.blocks[1].register_forward_pre_hook(lambda *_: os._exit(9))
    torch.save(met_with(partial(take_part, trial, transformer, dying)), folder / f"dies.{rank}")


def take_part(trial: Trial, transformer: InfiniteTalkTransformer3DModel, groups: TeamGroups) -> None:
    if not groups.is_leader:
        follow(transformer, groups)
        return
    parallel = ParallelTransformer(transformer, groups)
    try:
        trial.latents(parallel, None)
    except InfiniteTalkError:
        parallel.close()  # says nothing to anybody
        trial.latents(parallel, None)  # the same error again, at once
    raise AssertionError("nothing was noticed")


def met_with(action: Any) -> tuple[str, str, float]:
    """Class and words of our error that `action` ends with, and after how many seconds."""
    began_s = time.monotonic()
    try:
        action()
    except InfiniteTalkError as exc:
        return type(exc).__name__, str(exc), time.monotonic() - began_s
    raise AssertionError("nothing was noticed")
