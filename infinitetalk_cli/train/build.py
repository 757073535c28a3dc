"""The transformer that a training begins with: an untrained one in nano's layout, or trained weights."""

from __future__ import annotations

from pathlib import Path

import torch

from infinitetalk_cli.checkpoints.locate import builtin_folder
from infinitetalk_cli.errors import DependencyError
from infinitetalk_cli.models.transformer import InfiniteTalkTransformer3DModel
from infinitetalk_cli.train.settings import TransformerSettings


def build_transformer(
    settings: TransformerSettings, latent_channels: int, audio_channels: int
) -> InfiniteTalkTransformer3DModel:
    """An untrained transformer in nano's layout, without text and image branches."""
    model = InfiniteTalkTransformer3DModel(
        in_channels=2 * latent_channels + 1,
        out_channels=latent_channels,
        num_attention_heads=settings.num_attention_heads,
        attention_head_dim=settings.attention_head_dim,
        ffn_dim=settings.ffn_dim,
        num_layers=settings.num_layers,
        text_dim=None,
        image_dim=None,
        audio_layers=1,
        audio_channels=audio_channels,
        audio_hidden_dim=settings.audio_hidden_dim,
        audio_token_dim=settings.audio_token_dim,
        audio_tokens=settings.audio_tokens,
        prediction_type="sample_residual",
    )
    model.reset_parameters()
    _open_gates(model)
    return model


@torch.no_grad()
def _open_gates(model: InfiniteTalkTransformer3DModel) -> None:
    """Begin as a plain pre-norm transformer: gates 1, no shift or scale, sound heard from the first step.

    With the small random gates of the large model's layout the blocks of a small one stay asleep: after 4 800
    samples the audio gain was still 0.1 %.
    """
    for block in model.blocks:
        block.scale_shift_table.zero_()
        block.scale_shift_table[:, [2, 5]] = 1.0
        torch.nn.init.xavier_uniform_(block.audio_cross_attn.proj.weight, gain=0.5)
    model.scale_shift_table.zero_()


def trained_part(source: str, name: str) -> Path:
    """Folder of the network `name` in `source`: "nano" (shipped), the folder of weights, or that of a training run.

    Raises:
        DependencyError: there is none.
    """
    root = builtin_folder(source) if builtin_folder(source).is_dir() else Path(source).expanduser()
    for folder in (root / name, root / "weights" / name):
        if (folder / "config.json").is_file():
            return folder
    raise DependencyError(
        f"{source}: holds no trained {name}; name 'nano' (the shipped weights), or the --out folder of a training"
    )


def load_transformer(source: str) -> InfiniteTalkTransformer3DModel:
    """The transformer of `source` in float32, ready to train on."""
    model = InfiniteTalkTransformer3DModel.from_pretrained(trained_part(source, "transformer"))
    return model.float().train()
