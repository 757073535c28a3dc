from __future__ import annotations

import math
import sys
import time
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))

from test_flops import TINY, settings

from infinitetalk_cli.bench import measure as measuring
from infinitetalk_cli.bench.build import empty_transformer, fill_randomly, weight_bytes
from infinitetalk_cli.bench.measure import measure
from infinitetalk_cli.bench.parts import PartClock
from infinitetalk_cli.bench.report import Timing, known_peak, utilisation
from infinitetalk_cli.bench.settings import SIZES
from infinitetalk_cli.checkpoints.locate import builtin_folder
from infinitetalk_cli.errors import ResourceError
from infinitetalk_cli.models.devices import DeviceFacts
from infinitetalk_cli.models.transformer import InfiniteTalkTransformer3DModel
from infinitetalk_cli.progress import SilentProgress

CPU = torch.device("cpu")


def test_weights_have_the_dtypes_of_a_loaded_model() -> None:
    transformer = empty_transformer(TINY)
    expected_bytes = weight_bytes(transformer, torch.bfloat16)
    fill_randomly(transformer, CPU, torch.bfloat16)
    kept = {name for name, weight in transformer.named_parameters() if weight.dtype == torch.float32}
    owners = ("time_embedder", "time_proj", "scale_shift_table", "proj_out")
    assert kept == {name for name, _ in transformer.named_parameters() if set(name.split(".")) & set(owners)}
    weights = list(transformer.parameters())
    assert sum(weight.numel() * weight.itemsize for weight in weights) == expected_bytes
    assert all(weight.isfinite().all() and weight.std() > 0 for weight in weights if weight.numel() > 1)


def test_weights_share_no_memory() -> None:
    transformer = empty_transformer(TINY)
    fill_randomly(transformer, CPU, torch.float32)
    places = [weight.data_ptr() for weight in transformer.parameters()]
    assert len(set(places)) == len(places)


def test_nano_is_the_shipped_nano() -> None:
    shipped = InfiniteTalkTransformer3DModel.load_config(builtin_folder("nano") / "transformer")
    ours = SIZES["nano"].model_dump()
    assert {name: tuple(value) if isinstance(value, list) else value for name, value in shipped.items()}.items() >= (
        ours.items()
    )


def test_published_size_has_the_published_number_of_parameters() -> None:
    parameters = empty_transformer(SIZES["14b"]).parameters()
    assert sum(weight.numel() for weight in parameters) / 1e9 == pytest.approx(16.39 + 2.49, abs=0.02)


def test_parts_inside_each_other_add_up() -> None:
    clock, began = PartClock(CPU), time.perf_counter()
    clock.enter("embeddings_and_head")
    time.sleep(0.02)
    clock.enter("elementwise")
    clock.enter("linear")
    time.sleep(0.04)
    clock.leave()
    clock.leave()
    clock.leave()
    whole = time.perf_counter() - began
    parts = clock.parts()
    assert parts.embeddings_and_head >= 0.02
    assert parts.linear >= 0.04
    assert parts.elementwise < 0.02
    assert parts.total == pytest.approx(whole, abs=0.005)


@pytest.mark.parametrize("people", [1, 2])
def test_every_part_is_seen_and_hooks_are_gone(people: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(measuring._MATMUL_SIDE, "cpu", 64)
    report = measure(settings(people=people, repeats=2), "cpu", SilentProgress())
    assert report.parts is not None
    assert all(seconds > 0 for seconds in report.parts.model_dump().values())
    assert len(report.timing.seconds) == 2
    assert report.num_tokens == 3 * 2 * 3
    assert report.memory.weights_bytes == report.num_parameters * 4
    assert report.utilisation.of_peak is None


def test_map_of_people_counts_to_the_sound(monkeypatch: pytest.MonkeyPatch) -> None:
    from infinitetalk_cli.models.attention import PersonPositions

    plain = PersonPositions.forward

    def slow(*arguments: torch.Tensor) -> torch.Tensor:
        time.sleep(0.05)
        return plain(*arguments)

    monkeypatch.setitem(measuring._MATMUL_SIDE, "cpu", 64)
    monkeypatch.setattr(PersonPositions, "forward", slow)
    report = measure(settings(people=2), "cpu", SilentProgress())
    assert report.parts.audio > 0.05 * TINY.num_layers > report.parts.elementwise


@pytest.mark.parametrize("changes", [{"offload": "blocks"}, {"dtype": "bfloat16"}])
def test_other_ways_to_run(changes: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(measuring._MATMUL_SIDE, "cpu", 64)
    report = measure(settings(**changes), "cpu", SilentProgress())
    assert report.timing.median_s > 0
    assert (report.parts is None) == ("offload" in changes)


def test_compiled_blocks_are_timed_and_split_before(monkeypatch: pytest.MonkeyPatch) -> None:
    from infinitetalk_cli.models import compiling

    compiled: list[bool] = []
    plain = compiling.compile_blocks
    monkeypatch.setitem(measuring._MATMUL_SIDE, "cpu", 64)
    monkeypatch.setattr(
        compiling, "compile_blocks", lambda transformer: compiled.append(True) or plain(transformer, backend="eager")
    )
    report = measure(settings(compile=True), "cpu", SilentProgress())
    assert compiled == [True]
    assert report.parts is not None and report.timing.first_s > 0


def test_what_cannot_fit_is_refused_before_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    facts = DeviceFacts("cpu", "a small one", memory_bytes=10**9, free_bytes=1000, multiplies_bfloat16=False)
    monkeypatch.setattr(measuring, "device_facts", lambda _name: facts)
    monkeypatch.setitem(measuring._MATMUL_SIDE, "cpu", 64)
    with pytest.raises(ResourceError, match=r"a small one has 0\.0 GB free"):
        measure(settings(), "cpu", SilentProgress())


def test_memory_that_runs_out_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def run_out(*_arguments: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(measuring, "matmul_rate", run_out)
    with pytest.raises(ResourceError, match="18 tokens; try --offload"):
        measure(settings(), "cpu", SilentProgress())


def test_utilisation_is_of_the_median() -> None:
    from infinitetalk_cli.bench.flops import forward_flops

    flops = forward_flops(settings())
    used = utilisation(flops, Timing(seconds=(1.0, 4.0, 2.0), first_s=9.0), matmul=flops.total, peak=None)
    assert math.isclose(used.of_matmul, 0.5)


def test_peaks_are_of_whole_names_and_one_format() -> None:
    assert known_peak("NVIDIA H100 80GB HBM3", "bfloat16") == 989e12
    assert known_peak("NVIDIA H100 80GB HBM3", "float32") is None
    assert known_peak("NVIDIA H100 NVL", "bfloat16") is None
