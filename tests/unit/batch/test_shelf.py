"""Networks that are kept know what they take, so that the next job's forecast does not count it twice."""

from __future__ import annotations

from pathlib import Path

import torch

import infinitetalk_cli
from infinitetalk_cli.checkpoints.locate import locate_nano
from infinitetalk_cli.config.load import load_profile
from infinitetalk_cli.models.load import LoadedModels, host_bytes


def test_loaded_networks_tell_the_memory_that_they_take():
    profile, weights = load_profile("nano"), Path(infinitetalk_cli.__file__).parent / "weights" / "nano"
    models = LoadedModels(locate_nano(weights), "cpu", profile.compute, profile.memory)
    assert models.host_bytes == 0
    transformer = models.dubbing_model().transformer
    of_transformer = sum(tensor.nbytes for tensor in (*transformer.parameters(), *transformer.buffers()))
    assert of_transformer < models.host_bytes < 3 * of_transformer, "and the codec"


def test_wrapped_networks_count_and_other_devices_do_not():
    class Wrapper:
        def __init__(self, network: torch.nn.Module) -> None:
            self.network, self.name = network, "codec"

    assert host_bytes(Wrapper(torch.nn.Linear(10, 10, bias=False))) == 400
    assert host_bytes(Wrapper(torch.nn.Linear(10, 10, device="meta"))) == 0
