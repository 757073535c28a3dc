"""The kernel that computes softmax attention, one of diffusers' dispatcher.

Shape legend: b batch, n queries, m keys, h heads, d channels of one head.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from diffusers.models.attention_dispatch import AttentionBackendName, dispatch_attention_fn
from torch import Tensor, nn

if TYPE_CHECKING:
    from diffusers.models._modeling_parallel import ParallelConfig


class AttentionKernel(nn.Module):
    """Softmax attention of `q_bnhd` to `k_bmhd`, `v_bmhd`, by one kernel of diffusers' dispatcher.

    The kernel is always named, so that an environment variable of diffusers cannot change what comes out.
    `attention_backend.py` chooses another one.
    """

    backend = AttentionBackendName.NATIVE

    def forward(
        self,
        q_bnhd: Tensor,
        k_bmhd: Tensor,
        v_bmhd: Tensor,
        parallel: ParallelConfig | None = None,
        backend: AttentionBackendName | None = None,
    ) -> Tensor:
        """(b, n, h, d). `parallel`: n and m are stretches of what several processes hold; `backend`: not the chosen."""
        return dispatch_attention_fn(q_bnhd, k_bmhd, v_bmhd, backend=backend or self.backend, parallel_config=parallel)
