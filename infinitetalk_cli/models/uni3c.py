"""Uni3C's camera branch: a small transformer beside the main one that looks at a video of the wanted camera motion.

It sees the noisy latents and the latents of a "render" (arXiv 2504.14899), and after each of the main transformer's
first blocks its own block of that number adds something to the tokens; text, picture and sound never enter it. Names
of weights are those of the published file. Shape legend: b batch, c channels, t h w latent frames, rows and columns,
f = 1 + 4 (t - 1) video frames, n tokens in the order (frame, row, column), d the branch's width.

The branch runs in step with the main model's blocks: a step of sampling holds one of its states (n, d) at a time,
neither all of them nor the residuals made of them, which are as wide as the main model. All branches of guidance get
the same residual, as published.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from diffusers.models.normalization import FP32LayerNorm
from torch import Tensor, nn

from infinitetalk_cli.models.attention import Rotation, SelfAttention, rotation_3d
from infinitetalk_cli.models.block import add_gated, modulate

if TYPE_CHECKING:
    from infinitetalk_cli.models.parallel.shard import SequenceShard

VIDEO_STRIDES = (4, 8, 8)
"""Frames, rows and columns of pixels that a latent stands for: mask and camera come in pixels."""
NORM_GROUP_CHANNELS = 8
CAMERA_CHANNELS = 6
"""Direction of a pixel's ray, and its moment around the middle of the camera path."""


class ModulatedNorm(nn.Module):
    """Affine layer norm, then scale and shift from the time embedding, which also gives the gate of what follows."""

    def __init__(self, time_dim: int, dim: int) -> None:
        super().__init__()
        self.linear = nn.Linear(time_dim, 3 * dim)
        self.norm = FP32LayerNorm(dim, eps=1e-5)

    def forward(self, x: Tensor, time: Tensor) -> tuple[Tensor, Tensor]:
        """Of x (b, n, d) and SiLU of the time embedding (b, e): the modulated x, and the gate (b, 1, d) in float32."""
        shift, scale, gate = self.linear(time).float()[:, None].chunk(3, dim=-1)
        return modulate(self.norm(x), shift, scale), gate


class ControlBlock(nn.Module):
    """Self attention and feed-forward, each gated; norms, modulation and gating in float32."""

    def __init__(self, dim: int, num_heads: int, ffn_dim: int, time_dim: int, eps: float) -> None:
        super().__init__()
        self.norm1 = ModulatedNorm(time_dim, dim)
        self.self_attn = SelfAttention(dim, num_heads, eps)
        self.norm2 = ModulatedNorm(time_dim, dim)
        self.ffn = nn.Sequential(nn.Linear(dim, ffn_dim), nn.GELU(approximate="tanh"), nn.Linear(ffn_dim, dim))

    def forward(self, x: Tensor, time: Tensor, rotation: Rotation, shard: SequenceShard | None = None) -> Tensor:
        """Tokens (b, n, d) after the block; those of one process's stretch if `shard` is given."""
        modulated, gate = self.norm1(x, time)
        x = add_gated(x, self.self_attn(modulated, rotation, shard)[0], gate)
        modulated, gate = self.norm2(x, time)
        return add_gated(x, self.ffn(modulated), gate)


class MaskCameraEmbedding(nn.Module):
    """Where the render has holes, and where its camera stands, as tokens."""

    def __init__(self, channels: int, mid_channels: int, dim: int, patch_size: tuple[int, int, int]) -> None:
        super().__init__()
        self.mask_proj = nn.Sequential(
            nn.Conv3d(channels, mid_channels, kernel_size=VIDEO_STRIDES, stride=VIDEO_STRIDES),
            nn.GroupNorm(mid_channels // NORM_GROUP_CHANNELS, mid_channels, eps=1e-5),
            nn.SiLU(),
        )
        self.mask_zero_proj = nn.Conv3d(mid_channels, dim, kernel_size=patch_size, stride=patch_size)

    def forward(self, mask_and_camera: Tensor) -> Tensor:
        """Tokens (b, n, d) of pixels (b, c, f, 8h, 8w); frame 0 stands alone in its group, as in the causal codec."""
        padded = F.pad(mask_and_camera, (0, 0, 0, 0, VIDEO_STRIDES[0] - 1, 0))
        return self.mask_zero_proj(self.mask_proj(padded)).flatten(2).mT


class ControlBlocks(nn.Module):
    """The branch after its embeddings, under the names of the published file."""

    def __init__(
        self, in_dim: int, dim: int, num_heads: int, ffn_dim: int, num_layers: int, time_dim: int, out_dim: int,
        eps: float,
    ) -> None:  # fmt: skip
        super().__init__()
        self.proj_in = nn.Linear(in_dim, dim) if in_dim != dim else nn.Identity()
        self.controlnet_blocks = nn.ModuleList(
            ControlBlock(dim, num_heads, ffn_dim, time_dim, eps) for _ in range(num_layers)
        )
        self.proj_out = nn.ModuleList(nn.Linear(dim, out_dim) for _ in range(num_layers))


class Uni3CControlNet(ModelMixin, ConfigMixin):
    """The camera branch; defaults are the published one, for the 14B model.

    `in_channels`: noisy latents, mask channels of the main model's condition, latents of the render. `add_channels`:
    mask and camera; None: a branch without them. `out_dim` and `time_embed_dim` are the main model's width.
    """

    _no_split_modules: ClassVar = ["ControlBlock"]
    _keep_in_fp32_modules: ClassVar = ["controlnet_patch_embedding", "controlnet_mask_embedding"]

    @register_to_config
    def __init__(
        self,
        in_channels: int = 36,
        conv_out_dim: int = 5120,
        dim: int = 1024,
        ffn_dim: int = 4096,
        num_heads: int = 16,
        num_layers: int = 20,
        time_embed_dim: int = 5120,
        out_dim: int = 5120,
        add_channels: int | None = 1 + CAMERA_CHANNELS,
        mid_channels: int = 256,
        patch_size: tuple[int, int, int] = (1, 2, 2),
        eps: float = 1e-6,
    ) -> None:
        super().__init__()
        patch_size = tuple(patch_size)
        self.controlnet_patch_embedding = nn.Conv3d(in_channels, conv_out_dim, patch_size, patch_size)
        self.controlnet_mask_embedding = None
        if add_channels is not None:
            self.controlnet_mask_embedding = MaskCameraEmbedding(add_channels, mid_channels, conv_out_dim, patch_size)
        self.controlnet = ControlBlocks(conv_out_dim, dim, num_heads, ffn_dim, num_layers, time_embed_dim, out_dim, eps)

    @property
    def reads_masks(self) -> bool:
        """Whether it can be told where a render has holes, and how its camera moves."""
        return self.controlnet_mask_embedding is not None

    @property
    def num_layers(self) -> int:
        """How many blocks of the main model it steers."""
        return len(self.controlnet.controlnet_blocks)

    @property
    def stream_dtype(self) -> torch.dtype:
        """Dtype of its tokens: that of the weights not kept in float32."""
        return self.controlnet.controlnet_blocks[0].ffn[0].weight.dtype

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw all weights anew for training from scratch, from torch's global generator; its residuals begin at zero.

        So does what mask and camera add: a branch that was never shown any ignores them.
        """
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Conv3d):
                nn.init.xavier_uniform_(module.weight.flatten(1))
                nn.init.zeros_(module.bias)
            elif isinstance(module, nn.LayerNorm | nn.RMSNorm | nn.GroupNorm):
                module.reset_parameters()
        for linear in self.controlnet.proj_out:
            nn.init.zeros_(linear.weight)
        if self.controlnet_mask_embedding is not None:
            nn.init.zeros_(self.controlnet_mask_embedding.mask_zero_proj.weight)

    def embed_mask(self, mask: Tensor, camera: Tensor) -> Tensor:
        """Tokens (b, n, conv_out_dim), float32, of `mask` (b, 1, f, 8h, 8w), 1 where the render has a hole, and of
        `camera` (b, 6, f, 8h, 8w), see `camera_path.camera_embedding`. The same in every step of a chunk."""
        if self.controlnet_mask_embedding is None:
            raise ValueError("this branch was made without mask and camera")
        return self.controlnet_mask_embedding(torch.cat((mask, camera), dim=1).float())

    def begin(
        self,
        latents: Tensor,
        time: Tensor,
        mask_tokens: Tensor | None = None,
        strength: float = 1.0,
        shard: SequenceShard | None = None,
    ) -> ControlRun:
        """A run for `latents` (b, in_channels, t, h, w): noisy ones, mask channels, those of the render.

        `time` (b, e): the main model's time embedding, before its SiLU. Without `mask_tokens` the part that reads mask
        and camera is skipped, which is not the same as zeros. With `shard` both the run and `mask_tokens` are of its
        stretch of tokens.
        """
        patches = self.controlnet_patch_embedding(latents.float())
        grid = tuple(patches.shape[2:])
        tokens = patches.flatten(2).mT
        if shard is not None:
            tokens = shard.own(tokens)
        if mask_tokens is not None:
            tokens = tokens + mask_tokens
        x = self.controlnet.proj_in(tokens.to(self.stream_dtype))
        rotation = rotation_3d(grid, self.config.dim // self.config.num_heads, x.device)
        if shard is not None:
            rotation = Rotation(*map(shard.own, rotation))
        return ControlRun(self, x, F.silu(time).to(self.stream_dtype), rotation, strength, shard)

    def forward(self, latents: Tensor, time: Tensor, mask_tokens: Tensor | None = None) -> list[Tensor]:
        """All residuals (b, n, out_dim) at once; arguments as of `begin`."""
        run = self.begin(latents, time, mask_tokens)
        return [run.residual(index) for index in range(self.num_layers)]


class ControlRun:
    """One run of the branch, block by block: what is added after each of the main model's first blocks."""

    def __init__(
        self,
        network: Uni3CControlNet,
        x: Tensor,
        time: Tensor,
        rotation: Rotation,
        strength: float,
        shard: SequenceShard | None = None,
    ) -> None:
        self._blocks, self._x, self._time, self._rotation = network.controlnet, x, time, rotation
        self._strength, self._shard = strength, shard

    def residual(self, index: int) -> Tensor | None:
        """What to add after block `index`, (b, n, out_dim); asked for in order. None: this block is not steered."""
        if index >= len(self._blocks.controlnet_blocks):
            return None
        self._x = self._blocks.controlnet_blocks[index](self._x, self._time, self._rotation, self._shard)
        return self._blocks.proj_out[index](self._x)

    def add_to(self, streams: tuple[Tensor, ...], index: int) -> tuple[Tensor, ...]:
        """The main model's tokens after block `index`, steered: all of `streams` (k b, n, out_dim) alike."""
        residual = self.residual(index)
        if residual is None:
            return streams
        return tuple(torch.add(x, residual.to(x.dtype), alpha=self._strength) for x in streams)
