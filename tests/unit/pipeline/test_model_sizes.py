"""Sizes from headers are those of the networks that are then loaded."""

from __future__ import annotations

from pathlib import Path

import pytest
from miniature import write_weights
from torch import nn

from infinitetalk_cli.checkpoints.locate import locate_model
from infinitetalk_cli.config.load import load_profile
from infinitetalk_cli.errors import DependencyError
from infinitetalk_cli.models.load import LoadedModels
from infinitetalk_cli.pipeline.model_sizes import PUBLISHED, size_of


def num_weights(network: nn.Module) -> int:
    return sum(weight.numel() for weight in network.parameters())  # shared ones once


@pytest.mark.parametrize("layout", ["original", "diffusers"])
def test_published_layouts(layout: str, tmp_path: Path):
    profile = load_profile("infinitetalk-480p", {"compute.dtype": "float32"})
    files = locate_model(profile.model, write_weights(tmp_path, layout=layout))
    size = size_of(files)
    models = LoadedModels(files, "cpu", profile.compute, profile.memory)
    model = models.dubbing_model()
    assert size.transformer.num_weights == num_weights(model.transformer)
    assert size.codec.num_weights == num_weights(model.codec.vae)
    assert size.codec.base_dim == model.codec.vae.config.base_dim
    assert size.image_encoder_weights >= num_weights(model.image_encoder.model)
    assert size.transformer.image_tokens == 5
    assert size.text_encoder is not None and 0 < size.text_encoder.table_weights < size.text_encoder.num_weights
    assert size.audio_encoder_weights == pytest.approx(num_weights(models.audio_encoder().model), rel=0.01)


def test_nano():
    profile = load_profile("nano")
    files = locate_model(profile.model, Path())
    models = LoadedModels(files, "cpu", profile.compute, profile.memory)
    size = size_of(files)
    assert size.transformer.num_weights == num_weights(models.dubbing_model().transformer)
    assert (size.text_encoder, size.image_encoder_weights, size.codec.base_dim) == (None, 0, None)


def test_the_published_model_has_its_18_9_billion_weights():
    assert PUBLISHED.transformer.num_weights == pytest.approx(16.39e9 + 2.49e9, rel=1e-3)


def test_a_damaged_shard_is_a_sentence(tmp_path: Path):
    files = locate_model(load_profile("infinitetalk-480p").model, write_weights(tmp_path))
    shard = files.networks["transformer"].weights[1]
    shard.write_bytes(shard.read_bytes()[:100])
    with pytest.raises(DependencyError, match="download it again"):
        size_of(files)
