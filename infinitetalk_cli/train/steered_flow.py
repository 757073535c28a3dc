"""Training of nano's camera branch (`models/uni3c.py`) beside a frozen transformer.

In dubbing the branch looks at the source: the wanted camera, and the old words in the mouth. So in training it looks at
a twin of the clip: the same person, scene and camera, other words (`dataset.py`). Were it shown the clip itself, it
would learn to copy the mouth, which the new sound must be free to move.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from infinitetalk_cli.models.camera_control import control_input
from infinitetalk_cli.models.transformer import InfiniteTalkTransformer3DModel
from infinitetalk_cli.models.uni3c import Uni3CControlNet
from infinitetalk_cli.train.chunks import Batch
from infinitetalk_cli.train.flow import NanoTask, audio_gain, clean_estimate, flow_error, generate_latents
from infinitetalk_cli.train.settings import Uni3CSettings

_GAIN_SIGMA = 0.8


@dataclass(frozen=True)
class SteeredBatch(Batch):
    """Chunks with their twins: render (b, c, t, h, w), encoded as a clip of its own, as in dubbing."""

    render: Tensor


def build_branch(settings: Uni3CSettings, transformer: InfiniteTalkTransformer3DModel) -> Uni3CControlNet:
    """An untrained branch for `transformer`, without mask and camera: it follows whole pictures."""
    config = transformer.config
    dim = config.num_attention_heads * config.attention_head_dim
    branch = Uni3CControlNet(
        in_channels=config.in_channels,
        conv_out_dim=settings.conv_out_dim,
        dim=settings.dim,
        ffn_dim=settings.ffn_dim,
        num_heads=settings.num_heads,
        num_layers=settings.num_layers,
        time_embed_dim=dim,
        out_dim=dim,
        add_channels=None,
        patch_size=tuple(config.patch_size),
    )
    branch.reset_parameters()
    _start_from_render(branch, config.out_channels)
    return branch


@torch.no_grad()
def _start_from_render(branch: Uni3CControlNet, channels: int) -> None:
    """Begin as a branch that passes on the patches of the render, whose latents have `channels`, and nothing else.

    So its projections learn from the first step on what to add of them; behind random weights, which mix them with
    noise, that comes hundreds of steps later. Gates begin at 1, with neither shift nor scale.
    """
    patches = branch.controlnet_patch_embedding
    own = torch.eye(patches.out_channels, channels * math.prod(patches.kernel_size))
    nn.init.zeros_(patches.weight)
    patches.weight[:, -channels:] = own.unflatten(1, (channels, *patches.kernel_size))
    for block in branch.controlnet.controlnet_blocks:
        for last in (block.self_attn.to_out[0], block.ffn[-1]):
            nn.init.zeros_(last.weight)
        for norm in (block.norm1, block.norm2):
            nn.init.zeros_(norm.linear.weight)
            norm.linear.bias.zero_()
            norm.linear.bias[-branch.config.dim :] = 1.0


class SteeredTransformer(nn.Module):
    """A frozen transformer and the branch that learns to steer it."""

    def __init__(self, main: InfiniteTalkTransformer3DModel, branch: Uni3CControlNet) -> None:
        super().__init__()
        self.main, self.branch = main.requires_grad_(False), branch

    @property
    def blocks(self) -> list[nn.Module]:
        """What is compiled."""
        return [*self.main.blocks, *self.branch.controlnet.controlnet_blocks]

    def enable_gradient_checkpointing(self) -> None:
        """Compute activations of the large part twice instead of keeping them."""
        self.main.enable_gradient_checkpointing()

    def forward(
        self, latents: Tensor, timestep: Tensor, render: Tensor, condition: Tensor, audio: Tensor
    ) -> tuple[Tensor]:
        """The output of `main` (b, c, t, h, w), steered towards the camera of `render`; other arguments as there."""
        mask_channels = condition[:, : condition.shape[1] - render.shape[1]]
        return self.main(
            latents,
            timestep,
            condition=condition,
            audio=audio,
            control=lambda noisy, time: self.branch.begin(control_input(noisy, mask_channels, render), time),
            return_dict=False,
        )


def steered(model: nn.Module, render: Tensor) -> Callable[..., tuple[Tensor]]:
    """`model` with its `render` bound, to be called as `flow.py` calls a transformer."""

    def call(
        latents: Tensor, timestep: Tensor, *, condition: Tensor, audio: Tensor, return_dict: bool
    ) -> tuple[Tensor]:
        assert not return_dict
        return model(latents, timestep, render, condition, audio)

    return call


@torch.no_grad()
def camera_gain(model: nn.Module, batch: SteeredBatch) -> float:
    """1 - error with the right render / with another clip's: how much the branch tells the transformer.

    The other render is that of the next sample in the batch.
    """
    batch = replace(batch, sigma=torch.full_like(batch.sigma, _GAIN_SIGMA))
    errors = []
    for render in (batch.render, batch.render.roll(1, dims=0)):
        noisy = (1 - _GAIN_SIGMA) * batch.clean + _GAIN_SIGMA * batch.noise
        made = clean_estimate(steered(model, render), batch, noisy, batch.sigma, batch.audio)
        errors.append(float(((made - batch.clean).square() * (1 - batch.given_mask)).sum()))
    return 1 - errors[0] / errors[1]


class SteeredTask(NanoTask):
    """As `NanoTask`, for a `SteeredTransformer` and batches with twins."""

    def error(self, model: nn.Module, batch: SteeredBatch) -> Tensor:
        """See `flow_error`: the mouth counts more, and moves otherwise than the render's."""
        return flow_error(steered(model, batch.render), batch, self.settings.mouth_weight)

    def figures(self, model: nn.Module, device: torch.device) -> dict[str, float]:
        """What is measured at every checkpoint; the audio gain must not fall while the branch learns."""
        if self.held_out is None:
            return {}
        batch = self.held_out.to(device)
        gains = audio_gain(steered(model, batch.render), batch)
        return {"audio_gain": gains, "camera_gain": camera_gain(model, batch)}

    def samples(self, model: nn.Module, device: torch.device, count: int) -> tuple[Batch, Tensor] | None:
        """See `NanoTask.samples`."""
        if self.held_out is None:
            return None
        held_out = self.held_out.to(device)
        batch = replace(held_out, **{name: value[:count] for name, value in vars(held_out).items()})
        return batch, generate_latents(steered(model, batch.render), batch, self.settings.timestep_shift)
