from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from diffusers.models import attention_dispatch
from diffusers.models.attention_dispatch import AttentionBackendName
from torch import Tensor

from infinitetalk_cli.errors import DependencyError, ProfileError
from infinitetalk_cli.models import attention_backend
from infinitetalk_cli.models.attention_backend import backend_states, require_backend, use_attention
from infinitetalk_cli.models.attention_kernel import AttentionKernel
from infinitetalk_cli.models.transformer import InfiniteTalkTransformer3DModel

CPU, HALF = torch.device("cpu"), torch.bfloat16


@pytest.fixture
def hopper(monkeypatch: pytest.MonkeyPatch) -> torch.device:
    """A machine that says it has an H100 and all packages."""
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: (9, 0))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _device: "NVIDIA H100 PCIe")
    monkeypatch.setattr(attention_backend, "_installed", lambda _backend: True)
    return torch.device("cuda")


def test_on_the_cpu_only_torch_serves() -> None:
    states = {state.name: state for state in backend_states(CPU)}
    assert [name for name, state in states.items() if state.usable] == ["sdpa"]
    assert "CUDA" in states["sage"].reason and "sageattention" in states["sage"].reason


@pytest.mark.parametrize(("name", "package"), [("flash", "flash-attn"), ("flash-3", "flash_attn_3"), ("sage", "sage")])
def test_missing_package_is_named(name: str, package: str, hopper: torch.device, monkeypatch) -> None:
    monkeypatch.setattr(attention_backend, "_installed", lambda _backend: False)
    with pytest.raises(DependencyError, match=package):
        require_backend(name, hopper, HALF)


def test_older_card(hopper: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: (8, 6))
    assert [state.name for state in backend_states(hopper) if state.usable] == ["sdpa", "flash", "sage"]
    with pytest.raises(DependencyError, match=r"9\.0 \(NVIDIA H100"):
        require_backend("flash-3", hopper, HALF)


def test_float32_is_only_for_torch(hopper: torch.device) -> None:
    assert require_backend("auto", hopper, torch.float32).name == "sdpa"
    with pytest.raises(ProfileError, match="bfloat16 only"):
        require_backend("flash", hopper, torch.float32)


def test_names_are_those_of_diffusers_and_of_the_profile() -> None:
    from infinitetalk_cli.config.profile import ComputeProfile

    for backend in attention_backend.BACKENDS:
        assert AttentionBackendName(backend.diffusers_name)
        assert ComputeProfile(attention=backend.name).attention == backend.name


def test_only_self_attention_changes(
    hopper: torch.device, published_transformer: InfiniteTalkTransformer3DModel
) -> None:
    use_attention(published_transformer, "sage", hopper, HALF)
    changed = [name for name, module in published_transformer.named_modules() if _backend(module) == "sage"]
    assert changed == [f"blocks.{index}.attn1.kernel" for index in range(2)]
    use_attention(published_transformer, "auto", hopper, HALF)
    assert not [name for name, module in published_transformer.named_modules() if _backend(module) == "sage"]


def _backend(module: object) -> str | None:
    return module.backend.value if isinstance(module, AttentionKernel) else None


def test_the_chosen_kernel_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[int, ...]] = []

    def kernel(query: Tensor, key: Tensor, value: Tensor, **_ignored: object) -> Tensor:
        calls.append(tuple(query.shape))
        return value[:, : query.shape[1]]

    monkeypatch.setitem(_registered(), AttentionBackendName.SAGE, kernel)
    attend = AttentionKernel()
    attend.backend = AttentionBackendName.SAGE
    q, k, v = torch.randn(3, 1, 4, 2, 8).unbind()
    assert torch.equal(attend(q, k, v), v)
    assert calls == [(1, 4, 2, 8)]


def _registered() -> dict[AttentionBackendName, Callable[..., Tensor]]:
    return attention_dispatch._AttentionBackendRegistry._backends


def test_diffusers_environment_variable_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    q, k, v = torch.randn(3, 1, 4, 2, 8).unbind()
    expected = AttentionKernel()(q, k, v)
    monkeypatch.setattr(attention_dispatch._AttentionBackendRegistry, "_active_backend", AttentionBackendName.SAGE)
    assert torch.equal(AttentionKernel()(q, k, v), expected)
