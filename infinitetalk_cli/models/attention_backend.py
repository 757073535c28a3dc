"""Which kernel computes self attention: torch's own, or FlashAttention and SageAttention where they are installed.

All go through diffusers' dispatcher. Only self attention uses the chosen one. It has thousands of times more pairs
of tokens than the other attentions; those have few keys, which torch's kernel serves as well, and the map from
tokens to people has areas as values, which SageAttention's 8-bit values would make coarse.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from infinitetalk_cli.errors import DependencyError, ProfileError
from infinitetalk_cli.models.attention import SelfAttention


@dataclass(frozen=True)
class Backend:
    """A value of `compute.attention`, its name in diffusers, and what it needs."""

    name: str
    diffusers_name: str
    capability: tuple[int, int] = (0, 0)
    """First CUDA compute capability; (0, 0) runs anywhere, in any number format."""
    install: str = ""


BACKENDS = (
    Backend("sdpa", "native"),
    Backend("flash", "flash", (8, 0), "pip install 'flash-attn>=2.6.3' --no-build-isolation"),
    Backend("flash-3", "_flash_3", (9, 0), "build flash_attn_3 from the hopper folder of Dao-AILab/flash-attention"),
    Backend("sage", "sage", (8, 0), "pip install 'sageattention>=2.1.1'"),
)
AUTO = "sdpa"
"""What "auto" means: it is there everywhere, and on CUDA it is FlashAttention 2 or cuDNN's kernel already."""


@dataclass(frozen=True)
class BackendState:
    """Whether a backend can be used here; `reason` says what is missing and what to do, or is empty."""

    name: str
    reason: str = ""

    @property
    def usable(self) -> bool:
        return not self.reason


def backend_states(device: torch.device) -> tuple[BackendState, ...]:
    """Every backend, and what keeps it from running on `device`."""
    return tuple(BackendState(backend.name, _missing(backend, device)) for backend in BACKENDS)


def require_backend(name: str, device: torch.device, dtype: torch.dtype) -> Backend:
    """The backend that `compute.attention` names, if it runs on `device` in `dtype`.

    Raises:
        DependencyError: its package or its device is missing.
        ProfileError: it does not take numbers of this format.
    """
    backend = next(each for each in BACKENDS if each.name == (AUTO if name == "auto" else name))
    reason = _missing(backend, device)
    if reason:
        raise DependencyError(f"compute.attention {name} {reason}; or use --attention sdpa")
    if backend.capability > (0, 0) and dtype not in (torch.bfloat16, torch.float16):
        raise ProfileError(f"compute.attention {name} goes with compute.dtype bfloat16 only; change one of the two")
    return backend


def use_attention(network: nn.Module, name: str, device: torch.device, dtype: torch.dtype) -> None:
    """Let the self attention of every block of `network` run by the backend `name` from now on.

    Raises: as `require_backend`.
    """
    from diffusers.models.attention_dispatch import AttentionBackendName

    backend = AttentionBackendName(require_backend(name, device, dtype).diffusers_name)
    for module in network.modules():
        if isinstance(module, SelfAttention):
            module.kernel.backend = backend


def _missing(backend: Backend, device: torch.device) -> str:
    if backend.capability == (0, 0):
        return ""
    missing = []
    if device.type != "cuda":
        missing.append(f"a CUDA device (this is {device.type})")
    elif torch.cuda.get_device_capability(device) < backend.capability:
        major, minor = backend.capability
        missing.append(f"compute capability {major}.{minor} ({torch.cuda.get_device_name(device)} has less)")
    if not _installed(backend):
        missing.append(f"a package that is missing, too old or does not load ({backend.install})")
    return f"needs {' and '.join(missing)}" if missing else ""


def _installed(backend: Backend) -> bool:
    """Whether diffusers can use the backend; it checks package, version and import."""
    from diffusers.models.attention_dispatch import attention_backend

    try:
        with attention_backend(backend.diffusers_name):
            return True
    except (RuntimeError, ImportError, ValueError):  # ValueError: not known to an older diffusers
        return False
