"""The audio-driven video transformer; nano and the 14B model are two configurations of it.

Base weights are named as in diffusers' `WanTransformer3DModel`, audio weights as in the published checkpoint
(`keys.py` translates). Residual stream and matrix products use the dtype of the weights; what is kept in
float32 is listed in the docstring of `TransformerBlock`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_outputs import Transformer2DModelOutput
from diffusers.models.modeling_utils import ModelMixin
from diffusers.models.normalization import FP32LayerNorm
from einops import rearrange
from torch import Tensor, nn

from infinitetalk_cli.models.attention import Rotation, rotation_3d
from infinitetalk_cli.models.block import TransformerBlock, modulate
from infinitetalk_cli.models.embedders import AudioProjector, ConditionEmbedder, Float32Linear
from infinitetalk_cli.models.prepared import Attended, Branch, PreparedConditions, grouped
from infinitetalk_cli.models.step_cache import BlockResiduals
from infinitetalk_cli.models.uni3c import ControlRun

if TYPE_CHECKING:
    from infinitetalk_cli.models.parallel.shard import SequenceShard

MAX_PEOPLE = 2
"""The rotary code that binds regions to voices knows two people and the background."""


class InfiniteTalkTransformer3DModel(ModelMixin, ConfigMixin):
    """Velocity (or residual) of a chunk of video latents, given sound, picture and text.

    Defaults are the published 14B model. `text_dim` or `image_dim` None: the branch is absent.
    `prediction_type` only records what the output means, and `velocity.py` turns either into a velocity:
    "velocity" is noise - clean, "sample_residual" is clean - reference latent.
    """

    _supports_gradient_checkpointing = True
    _no_split_modules: ClassVar = ["TransformerBlock"]
    _repeated_blocks: ClassVar = ["TransformerBlock"]
    _keep_in_fp32_modules: ClassVar = ["time_embedder", "time_proj", "scale_shift_table", "proj_out"]

    @register_to_config
    def __init__(
        self,
        in_channels: int = 36,
        out_channels: int = 16,
        num_attention_heads: int = 40,
        attention_head_dim: int = 128,
        ffn_dim: int = 13_824,
        num_layers: int = 40,
        freq_dim: int = 256,
        patch_size: tuple[int, int, int] = (1, 2, 2),
        text_dim: int | None = 4096,
        text_len: int = 512,
        image_dim: int | None = 1280,
        audio_window: int = 5,
        audio_layers: int = 12,
        audio_channels: int = 768,
        audio_hidden_dim: int = 512,
        audio_token_dim: int = 768,
        audio_tokens: int = 32,
        vae_temporal_stride: int = 4,
        eps: float = 1e-6,
        prediction_type: str = "velocity",
    ) -> None:
        super().__init__()
        if prediction_type not in ("velocity", "sample_residual"):
            raise ValueError(f"unknown prediction_type '{prediction_type}'; known: velocity, sample_residual")
        if image_dim is not None and text_dim is None:
            raise ValueError("an image branch needs a text branch: they share one attention")
        dim = num_attention_heads * attention_head_dim
        self.patch_embedding = nn.Conv3d(in_channels, dim, kernel_size=patch_size, stride=patch_size)
        self.condition_embedder = ConditionEmbedder(dim, freq_dim, text_dim, image_dim)
        self.audio_proj = AudioProjector(
            window=audio_window,
            temporal_stride=vae_temporal_stride,
            num_layers=audio_layers,
            channels=audio_channels,
            hidden_dim=audio_hidden_dim,
            token_dim=audio_token_dim,
            num_tokens=audio_tokens,
        )
        with_text, with_image = text_dim is not None, image_dim is not None
        self.blocks = nn.ModuleList(
            TransformerBlock(dim, num_attention_heads, ffn_dim, audio_token_dim, eps, with_text, with_image)
            for _ in range(num_layers)
        )
        self.norm_out = FP32LayerNorm(dim, eps, elementwise_affine=False)
        self.proj_out = Float32Linear(dim, out_channels * math.prod(patch_size))
        self.scale_shift_table = nn.Parameter(torch.randn(1, 2, dim) / dim**0.5)
        self.gradient_checkpointing = False

    @property
    def condition_layout(self) -> str:
        """How `condition` is laid out (see `conditioning.py`); the number of its channels tells."""
        channels = self.config.in_channels - self.config.out_channels
        layouts = {
            self.config.out_channels + self.config.vae_temporal_stride: "published",
            self.config.out_channels + 1: "repeat",
        }
        if channels not in layouts:
            raise ValueError(f"{channels} condition channels fit no known layout; known: {layouts}")
        return layouts[channels]

    @property
    def stream_dtype(self) -> torch.dtype:
        """Dtype of the residual stream and of matrix products: that of the weights not kept in float32."""
        return self.patch_embedding.weight.dtype

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw all weights anew for training from scratch, from torch's global generator.

        The head and the outputs of the audio attentions begin at zero: the first output is zero, and sound
        enters as it becomes useful.
        """
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
            elif isinstance(module, nn.LayerNorm | nn.RMSNorm) and module.weight is not None:
                module.reset_parameters()
        nn.init.xavier_uniform_(self.patch_embedding.weight.flatten(1))
        nn.init.zeros_(self.patch_embedding.bias)
        for linear in (
            self.condition_embedder.time_embedder.linear_1,
            self.condition_embedder.time_embedder.linear_2,
        ):
            nn.init.normal_(linear.weight, std=0.02)
        for owner in (self, *self.blocks):
            nn.init.normal_(owner.scale_shift_table, std=owner.scale_shift_table.shape[-1] ** -0.5)
        for linear in (self.proj_out, *(block.audio_cross_attn.proj for block in self.blocks)):
            nn.init.zeros_(linear.weight)

    def prepare_conditions(
        self, text: Tensor | None, image: Tensor | None, audio: Tensor, num_people: int = 1
    ) -> PreparedConditions:
        """Everything that stays the same while a chunk is denoised; shapes as in `forward`.

        Touches no weights: keys are made, and kept, by the first forward that reads them.
        """
        if not 1 <= num_people <= MAX_PEOPLE:
            raise ValueError(f"{num_people} people; the model knows at most {MAX_PEOPLE}")
        return PreparedConditions(
            text=None if self.config.text_dim is None else Attended(text),
            image=None if self.config.image_dim is None else Attended(image),
            audio=Attended(audio),
            num_people=num_people,
        )

    def new_residuals(self) -> BlockResiduals:
        """What step caching keeps of one chunk."""
        return BlockResiduals()

    @torch.no_grad()
    def modulations(self, timesteps: Tensor) -> Tensor:
        """The float32 modulation (n, 6, d) that blocks get at each of `timesteps` (n,), wherever the weights are."""
        return self.condition_embedder(timesteps.to(self.condition_embedder.time_proj.weight.device))[1]

    def forward(
        self,
        latents: Tensor,
        timestep: Tensor,
        text: Tensor | None = None,
        image: Tensor | None = None,
        condition: Tensor | None = None,
        audio: Tensor | None = None,
        person_masks: Tensor | None = None,
        prepared: Sequence[PreparedConditions] | None = None,
        batch_branches: bool = False,
        residuals: BlockResiduals | None = None,
        reuse_residuals: bool = False,
        control: Callable[[Tensor, Tensor], ControlRun] | None = None,
        shard: SequenceShard | None = None,
        return_dict: bool = True,
    ) -> Transformer2DModelOutput | tuple[Tensor]:
        """Model output (b, out_channels, t, h, w) in float32.

        latents: noisy, (b, out_channels, t, h, w); timestep (b,) on the 0..1000 scale;
        text (b, n, text_dim); image (b, n, image_dim); condition (b, in_channels - out_channels, t, h, w);
        audio ((b p), f, window, layers, channels), f = 1 + stride * (t - 1), a sample's people together;
        person_masks (3, h, w) or (b, 3, h, w): person 1, person 2, background; read only when p = 2.

        prepared: instead of text, image and audio, what `prepare_conditions` made of them for each branch of
        guidance; the outputs of the branches follow each other along the batch. What they share is computed once.
        With `batch_branches`, those that hear equally many people are evaluated as one batch (b = 1).
        residuals: keeps what the blocks add (step caching), and gives it back with `reuse_residuals`.
        control: begins the camera branch's run for `latents` and their time embedding (b, d); all branches get what it
        adds. It does not run where the blocks do not, for what they add contains it.
        shard: this process's stretch of the tokens, where several call this together; all get the whole output, and
        `residuals` and `control` are those of the stretch.
        """
        if prepared is None:
            num_people = audio.shape[0] // latents.shape[0]
            prepared = (self.prepare_conditions(text, image, audio, num_people),)
        inputs = latents if condition is None else torch.cat((latents, condition.to(latents.dtype)), dim=1)
        self._check_shapes(inputs)
        if batch_branches and inputs.shape[0] != 1:
            raise ValueError(f"branches as one batch need a single sample, not {inputs.shape[0]}")
        patches = self.patch_embedding(inputs.to(self.stream_dtype))
        grid = patches.shape[2:]
        x = patches.flatten(2).mT.contiguous().to(self.stream_dtype)
        if shard is not None:
            x = shard.own(x)
        embedding, modulation = self.condition_embedder(timestep)
        if reuse_residuals:
            streams = residuals.add_to(x)
        else:
            groups = grouped([self._branch(one, inputs, shard) for one in prepared], batch_branches)
            run = None if control is None else control(latents, embedding)
            streams = self._run_blocks(x, modulation, grid, groups, person_masks, run, shard)
            if residuals is not None:
                residuals.keep(x, streams)
        output = torch.cat([self._project(stream, embedding, grid, shard) for stream in streams])
        return Transformer2DModelOutput(sample=output) if return_dict else (output,)

    def _run_blocks(
        self,
        x: Tensor,
        modulation: Tensor,
        grid: Sequence[int],
        groups: Sequence[Sequence[Branch]],
        person_masks: Tensor | None,
        control: ControlRun | None,
        shard: SequenceShard | None,
    ) -> tuple[Tensor, ...]:
        """Tokens after all blocks, one stream for each group of branches, from the shared tokens `x` (b, n, d)."""
        rotation = rotation_3d(tuple(grid), self.config.attention_head_dim, x.device)
        if shard is not None:
            rotation = Rotation(*map(shard.own, rotation))
        two_voices = any(branch.two_voices for group in groups for branch in group)
        token_masks = masks_of_tokens(person_masks, grid[1:]) if two_voices else None
        streams: tuple[Tensor, ...] = (x,)
        for index, block in enumerate(self.blocks):
            keys = [[branch.of_block(index) for branch in group] for group in groups]
            arguments = (streams, modulation, rotation, keys, token_masks, shard)
            if torch.is_grad_enabled() and self.gradient_checkpointing:
                streams = self._gradient_checkpointing_func(block, *arguments)
            else:
                streams = block(*arguments)
            if control is not None:
                streams = control.add_to(streams, index)
        return streams

    def _branch(self, prepared: PreparedConditions, inputs: Tensor, shard: SequenceShard | None) -> Branch:
        """Keys of every block for one branch; `inputs` (b, c, t, h, w) are what it is evaluated on.

        Of the sound, those of the latent frames that `shard` touches.
        """
        frames = slice(None) if shard is None else shard.frames
        text, image, audio, num_people = prepared
        embed_audio = partial(self._embed_audio, num_people=num_people, inputs=inputs, frames=frames)
        return Branch(
            text=None if text is None else text.keys(self._embed_text, len(self.blocks)),
            image=None if image is None else image.keys(self._embed_image, len(self.blocks)),
            audio=audio.keys(embed_audio, len(self.blocks), frames),
            two_voices=num_people > 1,
        )

    def _embed_text(self, text: Tensor) -> Tensor:
        """Text tokens (b, text_len, d) of `text` (b, n, text_dim), n at most `text_len`.

        Missing rows are zeros before the text network, so they become constant tokens that are attended to.
        """
        missing = self.config.text_len - text.shape[1]
        if missing < 0:
            raise ValueError(f"{text.shape[1]} text tokens; the model takes at most {self.config.text_len}")
        return self.condition_embedder.text_embedder(F.pad(text.to(self.stream_dtype), (0, 0, 0, missing)))

    def _embed_image(self, image: Tensor) -> Tensor:
        return self.condition_embedder.image_embedder(image.to(self.stream_dtype))

    def _embed_audio(self, audio: Tensor, num_people: int, inputs: Tensor, frames: slice) -> Tensor:
        """Audio tokens (b, p, t, m, c) of windows ((b p), f, window, layers, channels), of the latent `frames`."""
        tokens = self.audio_proj(audio.to(self.stream_dtype)).unflatten(0, (-1, num_people))
        heard, seen = tokens.shape[0] * tokens.shape[2], inputs.shape[0] * inputs.shape[2]
        if heard != seen:
            raise ValueError(f"sound for {heard} latent frames, picture has {seen}")
        return tokens[:, :, frames]

    def _project(self, x: Tensor, embedding: Tensor, grid: Sequence[int], shard: SequenceShard | None) -> Tensor:
        """The head, all in float32: tokens (b, n, d) to latents (b, out_channels, t, h, w)."""
        shift, scale = (self.scale_shift_table.float() + embedding[:, None]).chunk(2, dim=1)
        values = self.proj_out(modulate(self.norm_out(x).float(), shift, scale))
        if shard is not None:
            values = shard.whole(values)
        pt, ph, pw = self.config.patch_size
        return rearrange(
            values,
            "b (t h w) (pt ph pw c) -> b c (t pt) (h ph) (w pw)",
            t=grid[0], h=grid[1], w=grid[2], pt=pt, ph=ph, pw=pw,
        )  # fmt: skip

    def _check_shapes(self, inputs: Tensor) -> None:
        """Clear errors for what would otherwise fail or broadcast deep inside."""
        if inputs.shape[1] != self.config.in_channels:
            raise ValueError(
                f"{inputs.shape[1]} channels with the condition; the model takes {self.config.in_channels}"
            )
        if any(size % patch for size, patch in zip(inputs.shape[2:], self.config.patch_size, strict=True)):
            raise ValueError(f"latents {tuple(inputs.shape[2:])} are not whole patches of {self.config.patch_size}")


def masks_of_tokens(person_masks: Tensor, grid: Sequence[int]) -> Tensor:
    """Latent masks (3, h, w) or (b, 3, h, w) at token resolution `grid`: (1 or b, 3, s) of 0 and 1."""
    masks = person_masks if person_masks.dim() == 4 else person_masks[None]
    return (F.interpolate(masks.float(), size=tuple(grid), mode="nearest") > 0).float().flatten(2)
