"""Fixtures of the tiny models."""

from __future__ import annotations

import sys
from pathlib import Path

import hypothesis
import pytest

from infinitetalk_cli.models.transformer import InfiniteTalkTransformer3DModel

sys.path.insert(0, str(Path(__file__).parent))

from tiny_models import NANO, PUBLISHED, MeanCodec, make_transformer

# The same examples in every run, and no time limit for each: the machine may be busy.
hypothesis.settings.register_profile("steady", derandomize=True, deadline=None)
hypothesis.settings.load_profile("steady")


@pytest.fixture
def published_transformer() -> InfiniteTalkTransformer3DModel:
    """The published layout: text, image, four mask channels."""
    return make_transformer(**PUBLISHED)


@pytest.fixture
def nano_transformer() -> InfiniteTalkTransformer3DModel:
    """nano's layout: sound only, reference repeated, residual prediction."""
    return make_transformer(**NANO)


@pytest.fixture
def codec() -> MeanCodec:
    """A codec without weights."""
    return MeanCodec()
