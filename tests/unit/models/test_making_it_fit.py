"""Making the transformer fit: 8-bit weights, weights that wait elsewhere, compiled blocks."""

from __future__ import annotations

import builtins
from pathlib import Path

import pytest
import torch
from tiny_models import PUBLISHED, make_transformer
from torch import Tensor, nn

from infinitetalk_cli.errors import DependencyError, ProfileError
from infinitetalk_cli.models.compiling import compile_blocks, require_compiler
from infinitetalk_cli.models.filling import Placement, fill, without_memory
from infinitetalk_cli.models.offload import offload_blocks, offload_layers
from infinitetalk_cli.models.quantize import make_quantizer
from infinitetalk_cli.models.transformer import InfiniteTalkTransformer3DModel

CPU = torch.device("cpu")
WIDER = {**PUBLISHED, "attention_head_dim": 32, "ffn_dim": 256}


def run(transformer: nn.Module) -> Tensor:
    torch.manual_seed(3)
    latents, condition = torch.randn(1, 4, 3, 4, 6), torch.randn(1, 8, 3, 4, 6)
    text, image, audio = torch.randn(1, 5, 10), torch.randn(1, 5, 8), torch.randn(1, 9, 5, 2, 6)
    with torch.no_grad():
        return transformer(latents, torch.tensor([731.5]), text, image, condition, audio).sample


def filled(weights: dict[str, Tensor], kind: str | None = None, dtype: torch.dtype = torch.float32) -> nn.Module:
    with without_memory():
        transformer = InfiniteTalkTransformer3DModel(**WIDER)
    quantize = None if kind is None else make_quantizer(kind, CPU, dtype)
    fill(transformer, weights.items(), Placement(CPU, dtype), finish=quantize)
    return transformer.eval()


def bytes_of(parameter: Tensor) -> int:
    parts = [getattr(parameter, name, None) for name in ("qdata", "scale")]
    return sum(part.nbytes for part in parts) if parts[0] is not None else parameter.nbytes


@pytest.mark.parametrize(("kind", "tolerance"), [("int8", 0.02), ("fp8", 0.08)])
def test_quantized_weights(kind: str, tolerance: float) -> None:
    """Rounding to 8 bits errs by 1/254 (int8) or 1/32 (fp8: 3 bits of mantissa) of a value at most, here by half of
    that or less on average, through two blocks."""
    weights = make_transformer(**WIDER).state_dict()
    exact, quantized = filled(weights), filled(weights, kind)
    error = ((run(quantized) - run(exact)).norm() / run(exact).norm()).item()
    assert 1e-5 < error < tolerance
    for name, parameter in quantized.named_parameters():
        is_matrix = name.startswith("blocks.") and name.endswith("weight") and parameter.dim() == 2
        assert hasattr(parameter, "qdata") == is_matrix, name
        if is_matrix:
            rows = parameter.shape[0]
            assert bytes_of(parameter) == parameter.numel() + 4 * rows, name
        else:
            assert torch.equal(parameter, weights[name]), name


def test_never_more_than_one_weight_in_full() -> None:
    """While weights stream in, those that came before are already small."""
    weights = make_transformer(**WIDER).state_dict()
    seen: list[int] = []
    with without_memory():
        transformer = InfiniteTalkTransformer3DModel(**WIDER)

    def watched(name: str, module: nn.Module) -> None:
        matrices = [
            m.weight for n, m in transformer.named_modules() if n.startswith("blocks.") and type(m) is nn.Linear
        ]
        seen.append(sum(not m.is_meta and not hasattr(m, "qdata") for m in matrices))
        quantize(name, module)

    quantize = make_quantizer("int8", CPU, torch.float32)
    fill(transformer, weights.items(), Placement(CPU, torch.float32), finish=watched)
    assert max(seen) == 1


def test_quantization_without_torchao(monkeypatch: pytest.MonkeyPatch) -> None:
    real_import = builtins.__import__

    def refusing(name: str, *args: object, **kwargs: object) -> object:
        if name.startswith("torchao"):
            raise ImportError(name)
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refusing)
    with pytest.raises(DependencyError, match=r"pip install 'infinitetalk\[gpu\]'"):
        make_quantizer("int8", CPU, torch.float32)


@pytest.mark.parametrize("kind", [None, "int8"])
def test_offloaded_blocks_compute_the_same(kind: str | None) -> None:
    """With the CPU in the place of the device; streams need a real one."""
    transformer = filled(make_transformer(**WIDER).state_dict(), kind)
    before = run(transformer)
    offload_blocks(transformer, CPU, with_stream=False)
    assert all(hasattr(block, "_diffusers_hook") for block in transformer.blocks)
    assert torch.equal(run(transformer), before) and torch.equal(run(transformer), before)
    assert transformer.device == CPU


def test_offloaded_layers_compute_the_same() -> None:
    network = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Conv1d(1, 2, 3)).eval()
    values = torch.randn(1, 1, 3)
    before = network(values)
    offload_layers(network, CPU)
    assert torch.equal(network(values), before)


def test_compile_and_offload_exclude_each_other() -> None:
    with pytest.raises(ProfileError, match=r"does not go with memory\.offload"):
        require_compiler(CPU, is_offloaded=True)


@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_compiled_blocks_compute_the_same(backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fused kernels add up in another order: float32 rounding, 2^-24, over a few hundred terms.

    Without generated code ("aot_eager") it only shows that the blocks can be traced as one graph.
    """
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    try:
        require_compiler(CPU, is_offloaded=False)
    except DependencyError as exc:
        if backend == "inductor":
            pytest.skip(str(exc))
    torch._dynamo.reset()
    transformer = make_transformer(**{**PUBLISHED, "num_layers": 1})
    exact = run(transformer)
    compile_blocks(transformer, backend)
    torch.testing.assert_close(run(transformer), exact, atol=2e-5, rtol=1e-4)
    assert not torch._dynamo.utils.counters["graph_break"]


def test_compiler_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._inductor import cpp_builder, exc

    def nothing() -> str:
        raise exc.InvalidCxxCompiler

    monkeypatch.setattr(cpp_builder, "get_cpp_compiler", nothing)
    with pytest.raises(DependencyError, match="needs a C"):
        require_compiler(CPU, is_offloaded=False)
