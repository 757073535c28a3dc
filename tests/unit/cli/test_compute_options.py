"""Options that choose kernels, formats and places of weights become settings of the profile."""

from __future__ import annotations

import pytest
import typer

from infinitetalk_cli.cli.compute import compute_overrides
from infinitetalk_cli.config.load import load_profile
from infinitetalk_cli.config.model import LoraFile


def test_only_what_was_given_is_overridden():
    assert compute_overrides(None, None, None, None, None) == {}
    assert compute_overrides("flash", "float32", None, "blocks", None) == {
        "--attention": ("compute.attention", "flash"),
        "--dtype": ("compute.dtype", "float32"),
        "--offload": ("memory.offload", "blocks"),
    }


@pytest.mark.parametrize(
    ("text", "file", "weight"),
    [
        ("style", "style", 1.0),
        ("style:0.5", "style", 0.5),
        ("loras/style.safetensors:-1", "loras/style.safetensors", -1.0),
        (r"C:\loras\style.safetensors", r"C:\loras\style.safetensors", 1.0),
        (r"C:\loras\style.safetensors:2", r"C:\loras\style.safetensors", 2.0),
        ("odd:nan", "odd:nan", 1.0),
    ],
)
def test_a_lora_is_a_file_and_perhaps_a_weight(text: str, file: str, weight: float):
    overrides = dict(compute_overrides(None, None, None, None, [text]).values())
    loras = load_profile("infinitetalk-480p", overrides).model.loras
    assert loras == (LoraFile(file=file, weight=weight),)


def test_loras_of_the_command_line_come_after_those_of_the_profile():
    overrides = dict(compute_overrides(None, None, None, None, ["a:0.5", "b"]).values())
    files = [lora.file for lora in load_profile("fast", overrides).model.loras]
    assert files == ["lightx2v-I2V-14B-480P", "a", "b"]


def test_a_weight_without_a_file_is_refused():
    with pytest.raises(typer.BadParameter, match="names no file"):
        compute_overrides(None, None, None, None, [":0.5"])
