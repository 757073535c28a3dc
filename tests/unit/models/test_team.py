"""A team of real processes, by gloo on the CPU, computes what one process computes."""

from __future__ import annotations

import subprocess
import sys
from itertools import accumulate
from math import prod
from pathlib import Path

import pytest
import team_trials
import torch
from diffusers.models.attention_dispatch import AttentionBackendName
from team_trials import CPU, MEASURED, NUM_PROCESSES, SLOW_TRIALS, TRIALS, Trial, forward_inputs, saved
from tiny_models import PUBLISHED, make_transformer
from torch import Tensor

from infinitetalk_cli.errors import DependencyError, ProfileError
from infinitetalk_cli.models.attention import SelfAttention
from infinitetalk_cli.models.parallel import ParallelTransformer, TeamGroups, TeamShape, choose_team, follow
from infinitetalk_cli.models.parallel.attention import ulysses_minimum
from infinitetalk_cli.models.parallel.groups import split
from infinitetalk_cli.models.parallel.leader import require_method
from infinitetalk_cli.models.parallel.orders import Numbers
from infinitetalk_cli.models.prepared import Attended
from infinitetalk_cli.models.sampling import chunk_noise

TOLERANCE = {"atol": 2e-5, "rtol": 2e-5}
"""In float32: matrix products over fewer rows and heads add up in another order; latents are of the order of 1."""
NUM_LAYERS, CHANNELS = PUBLISHED["num_layers"], PUBLISHED["out_channels"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the processes of all trials left."""
    folder = tmp_path_factory.mktemp("team")
    exit_codes = team_trials.start(folder)
    errors = "\n".join(path.read_text() for path in sorted(folder.glob("error.*")))
    assert exit_codes == [0, 9, 9, 0], errors  # 1 and 2 end themselves in the last trial
    return folder


class Reference:
    """One process makes the chunks of `trial`: their latents, and what the last block gave in every forward."""

    def __init__(self, trial: Trial) -> None:
        transformer, self.streams = trial.transformer(), []
        self.outputs: list[Tensor] = []
        transformer.blocks[-1].register_forward_hook(lambda _module, _inputs, output: self.streams.append(output))
        transformer.register_forward_hook(lambda _module, _inputs, output: self.outputs.append(output.sample))
        self.latents = trial.latents(transformer, trial.control())


@pytest.mark.parametrize("name", TRIALS)
def test_every_process_holds_what_one_process_computes(name: str, folder: Path) -> None:
    assert_all_hold_their_part(name, TRIALS[name], folder)


@pytest.mark.slow
def test_compiled_blocks_exchange_too(tmp_path: Path) -> None:
    """Minutes where the machine is busy; `pytest -m slow tests/unit/models/test_team.py`."""
    assert team_trials.start(tmp_path, SLOW_TRIALS) == [0] * NUM_PROCESSES
    for name, trial in SLOW_TRIALS.items():
        assert_all_hold_their_part(name, trial, tmp_path)


def assert_all_hold_their_part(name: str, trial: Trial, folder: Path) -> None:
    """Latents, outputs of all forwards, and own tokens after the last block."""
    expected = Reference(trial)
    tolerance = {"atol": 0.02, "rtol": 0.02} if trial.weights == "bfloat16" else TOLERANCE
    processes = [saved(folder, name, rank) for rank in range(NUM_PROCESSES)]
    for seen in processes:
        if "latents" in seen:
            torch.testing.assert_close(seen["latents"], expected.latents, **tolerance)
        if seen["alone"]:
            continue
        torch.testing.assert_close(seen["outputs"], expected.outputs, **tolerance)
        assert len(seen["streams"]) == len(expected.streams) or not seen["streams"]
        for own, whole in zip(seen["streams"], expected.streams, strict=False):
            torch.testing.assert_close(torch.cat(own), part_of(whole, trial, *seen["place"]), **tolerance)
    for seen in processes[1 : trial.num_processes]:
        assert all(map(torch.equal, seen["outputs"], processes[0]["outputs"]))


def part_of(streams: tuple[Tensor, ...], trial: Trial, guidance: int, sequence: int) -> Tensor:
    """Rows and tokens that one process of a team has of what the blocks gave for all branches."""
    whole = torch.cat(streams)
    rows = split(whole.shape[0], trial.guidance)[guidance]
    return whole[rows, split(whole.shape[1], trial.sequence)[sequence]]


@pytest.mark.parametrize("name", TRIALS)
def test_traffic_is_what_collectives_brought(name: str, folder: Path) -> None:
    seen = [saved(folder, name, rank) for rank in range(NUM_PROCESSES)]
    assert [process["traffic"].total for process in seen] == [process["received_bytes"] for process in seen]
    assert (seen[0]["traffic"].total > 0) is (TRIALS[name].num_processes > 1)


@pytest.mark.parametrize("name", MEASURED)
def test_bytes_of_a_forward(name: str, folder: Path) -> None:
    trial = MEASURED[name]
    size, heads, patches = trial.sizes[0], trial.heads, prod(trial.sizes[0]) // 4
    sizes = [part.stop - part.start for part in split(patches, trial.sequence)]
    width, frame = 12 * heads, patches // size[0]
    branches = [part.stop - part.start for part in split(3, trial.guidance)]
    for rank in range(trial.num_processes):
        after = saved(folder, f"measured {name}", rank)
        repeated = {purpose: after[1].get(purpose, 0) - after[0].get(purpose, 0) for purpose in after[1]}
        guidance, own = divmod(rank, trial.sequence)
        mine = branches[guidance]
        attentions = 1 + mine * (NUM_LAYERS - 1)  # the first block's is shared
        voices = 1 + sum(trial.people == 2 for branch in range(2)) * (NUM_LAYERS - 1) if trial.people == 2 else 0
        starts = [0, *accumulate(sizes)]
        held = max(0, min(starts[own + 1], frame) - starts[own])
        expected = {
            "attention": attentions * ulysses_minimum(sizes, heads, 12, 4)[own],
            "output": mine * (trial.sequence - 1) * max(sizes) * CHANNELS * 4 * 4
            + (trial.guidance - 1) * max(branches) * CHANNELS * prod(size) * 4,
            "person map": voices * ((frame - held) * width * 4 + (trial.sequence - 1) * 2 * 2 * 4),
            "step": 0 if rank == 0 else (CHANNELS * prod(size) + 1) * 4,
            "conditions": 0,
        }
        orders = repeated.pop("orders", 0)
        assert {purpose: repeated.get(purpose, 0) for purpose in expected} == expected
        assert set(repeated) <= set(expected)
        assert orders == 0 if rank == 0 else orders < 2000
        if rank:  # what was changed in place, and nothing else, is sent again
            assert after[3]["conditions"] - after[2]["conditions"] == 8 * prod(size) * 4


@pytest.mark.parametrize("name", MEASURED)
@torch.no_grad()
def test_what_was_changed_in_place_is_noticed(name: str, folder: Path) -> None:
    trial, inputs = MEASURED[name], forward_inputs(MEASURED[name], 0)
    outputs = torch.load(folder / f"measured outputs {name}.0")
    for step in range(4):
        if step == 3:
            inputs["condition"].mul_(2)
        latents = chunk_noise(2, 0, step, 0, (1, 4, *trial.sizes[0]))
        expected = trial.transformer()(latents, torch.tensor([700.0 - step]), **inputs).sample
        torch.testing.assert_close(outputs[step], expected, **TOLERANCE)


def test_even_splits_reach_the_minimum_of_ulysses() -> None:
    sizes = [4, 4, 4, 4]
    assert ulysses_minimum(sizes, 8, 12, 4) == [4 * 16 * 8 * 12 * 3 // 16 * 4] * 4


@pytest.mark.parametrize("team", ["four", "two"])
def test_a_chunk_goes_on_in_another_team(team: str, folder: Path) -> None:
    seen = torch.load(folder / f"resume {team}")
    (expected,) = TRIALS["two by two"].latents(TRIALS["two by two"].transformer(), None)
    assert sorted(seen["states"]) == [1, 3]
    assert all(torch.equal(resumed, seen["uninterrupted"]) for resumed in seen["resumed"])
    for latents in (seen["uninterrupted"], *seen["foreign"], *seen["one process"]):
        torch.testing.assert_close(latents, expected, **TOLERANCE)
    assert len(seen["one process"]) == 2
    assert len(seen["foreign"]) == (2 if team == "two" else 0)


@pytest.mark.parametrize("rank", [0, 3])
def test_a_lost_process_is_noticed_at_once(rank: int, folder: Path) -> None:
    kind, words, seconds = torch.load(folder / f"dies.{rank}")
    assert kind == "PeerError"
    assert "ended or no longer answers" in words
    assert seconds < 10


@pytest.mark.parametrize("rank", range(NUM_PROCESSES))
def test_a_process_that_hangs_is_waited_for_so_long(rank: int, folder: Path) -> None:
    kind, _, seconds = torch.load(folder / f"hangs.{rank}")
    assert kind == "PeerError"
    assert team_trials.HANG_S <= seconds < team_trials.HANG_S * 3 + 10


@torch.no_grad()
def test_a_team_of_one_needs_no_process_group() -> None:
    trial = MEASURED["uneven"]
    latents, inputs = chunk_noise(2, 0, 0, 0, (1, 4, *trial.sizes[0])), forward_inputs(trial, 0)
    with ParallelTransformer(trial.transformer(), TeamGroups.alone(CPU)) as alone:
        output = alone(latents, torch.tensor([700.0]), **inputs).sample
    assert torch.equal(output, trial.transformer()(latents, torch.tensor([700.0]), **inputs).sample)
    assert alone.traffic.total == 0
    assert alone.config.num_layers == NUM_LAYERS
    assert alone.condition_layout == "published"


def test_ring_attention_is_refused_where_it_cannot_run() -> None:
    transformer = make_transformer(**PUBLISHED)
    with pytest.raises(DependencyError, match="ring attention needs CUDA"):
        require_method("ring", transformer, CPU)
    with pytest.raises(ProfileError, match="bfloat16 only"):
        require_method("ring", transformer, torch.device("cuda"))
    half = transformer.to(torch.bfloat16)
    require_method("ring", half, torch.device("cuda"))
    for module in half.modules():
        if isinstance(module, SelfAttention):
            module.kernel.backend = AttentionBackendName.SAGE
    with pytest.raises(ProfileError, match="log-sum-exp"):
        require_method("ring", half, torch.device("cuda"))


def test_roles_are_not_mixed_up() -> None:
    transformer, shape = make_transformer(**PUBLISHED), TeamShape((0, 1), sequence=2)
    with pytest.raises(ValueError, match="does not lead"):
        ParallelTransformer(transformer, TeamGroups(shape, 1, CPU))
    with pytest.raises(ValueError, match="does not follow"):
        follow(transformer, TeamGroups(shape, 0, CPU))
    with pytest.raises(ValueError, match="3 processes are not 2 x 2"):
        TeamShape((0, 1, 2), 2, 2)


def test_neighbours_share_a_sequence() -> None:
    shape = TeamShape((4, 5, 6, 7), guidance=2, sequence=2)
    assert shape.sequences() == [(4, 5), (6, 7)]
    assert shape.columns() == [(4, 6), (5, 7)]
    assert [TeamGroups(shape, index, CPU).place(index) for index in range(4)] == [(0, 0), (0, 1), (1, 0), (1, 1)]


@pytest.mark.parametrize(("total", "parts", "expected"), [(45, 2, [23, 22]), (3, 4, [1, 1, 1, 0]), (8, 4, [2] * 4)])
def test_shares_are_those_of_tensor_split(total: int, parts: int, expected: list[int]) -> None:
    whole = torch.arange(total)
    assert [len(whole[part]) for part in split(total, parts)] == expected
    for part, piece in zip(split(total, parts), whole.tensor_split(parts), strict=True):
        assert torch.equal(whole[part], piece)


def test_inputs_keep_their_numbers_as_long_as_they_are_read() -> None:
    numbers, first, text = Numbers(), torch.zeros(2), Attended(torch.ones(3))
    assert (numbers.of(first), numbers.of(text), numbers.of(None)) == (0, 1, None)
    assert list(numbers.new) == [0, 1]
    numbers.settle({0, 1})
    assert (numbers.of(first), numbers.of(text), numbers.new) == (0, 1, {})
    numbers.settle({0})  # a forward that did not read the text: followers have dropped it
    assert (numbers.of(text), list(numbers.new)) == (1, [1])
    first.add_(1)
    assert numbers.of(first) == 2
    del first
    assert numbers.of(torch.zeros(2)) == 3


@pytest.mark.parametrize(
    ("processes", "forwards", "heads", "expected"),
    [
        (1, 3, 40, (1, 1)),
        (2, 1, 40, (1, 2)),
        (2, 2, 40, (2, 1)),
        (2, 3, 40, (1, 2)),
        (3, 3, 40, (3, 1)),
        (4, 1, 40, (1, 4)),
        (4, 2, 40, (2, 2)),
        (4, 3, 40, (1, 4)),
        (6, 3, 40, (3, 2)),
        (8, 2, 40, (2, 4)),
        (8, 3, 40, (1, 8)),
        (4, 1, 3, (1, 3)),
        (4, 2, 3, (2, 2)),
        (8, 1, 2, (1, 2)),
    ],
)
def test_a_team_is_split_where_it_is_fastest(
    processes: int, forwards: int, heads: int, expected: tuple[int, int]
) -> None:
    choice = choose_team(processes, forwards, heads)
    assert (choice.guidance, choice.sequence) == expected
    assert choice.num_processes <= processes
    assert choice.reason


def test_the_reason_says_who_would_idle() -> None:
    assert choose_team(4, 1, 3).reason.endswith("1 of 4 processes would gain nothing")
    assert choose_team(1, 3, 40).reason == "one process"
    with pytest.raises(ValueError, match="at least 1"):
        choose_team(0, 1, 40)


def test_a_choice_needs_no_torch() -> None:
    code = "import sys; from infinitetalk_cli.models.parallel import choose_team; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
