"""What updates the weights."""

from __future__ import annotations

import torch
from torch import nn

from infinitetalk_cli.train.settings import OptimizerSettings

_AUDIO_RATE_FACTOR = 2.0
"""Audio attention learns this much faster: sound is the weakest condition at the start."""


def make_optimizer(model: nn.Module, settings: OptimizerSettings) -> torch.optim.AdamW:
    """AdamW over the weights that need gradients."""
    trained = [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]
    groups = [
        {"params": [w for name, w in trained if ("audio" in name) == is_audio], "factor": factor}
        for is_audio, factor in ((False, 1.0), (True, _AUDIO_RATE_FACTOR))
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=settings.learning_rate,
        betas=(0.9, 0.98),
        weight_decay=settings.weight_decay,
        fused=True,
    )
