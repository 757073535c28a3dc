"""Compiled blocks: `torch.compile` on the part of the transformer that repeats, so that it is compiled once."""

from __future__ import annotations

import torch

from infinitetalk_cli.errors import DependencyError, ProfileError
from infinitetalk_cli.models.transformer import InfiniteTalkTransformer3DModel


def require_compiler(device: torch.device, is_offloaded: bool) -> None:
    """Check that blocks can be compiled for `device`, before anything is loaded.

    Raises:
        DependencyError: the compiler that torch needs is missing.
        ProfileError: weights wait elsewhere, which breaks compiled code up.
    """
    if is_offloaded:
        raise ProfileError(
            "compute.compile does not go with memory.offload: compiled blocks cannot wait elsewhere; switch one off"
        )
    if device.type == "cuda":
        from torch.utils._triton import has_triton

        if not has_triton():
            raise DependencyError(
                "compute.compile needs triton for this GPU, which comes with CUDA builds of torch on Linux; "
                "install one, or switch compute.compile off"
            )
        return
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler as exc:
        raise DependencyError(
            "compute.compile needs a C++ compiler on the CPU; install g++ or clang++, or switch compute.compile off"
        ) from exc


def compile_blocks(transformer: InfiniteTalkTransformer3DModel, backend: str = "inductor") -> None:
    """Compile the blocks of `transformer` in place; the first forward of every size takes the time it needs."""
    transformer.compile_repeated_blocks(backend=backend)
