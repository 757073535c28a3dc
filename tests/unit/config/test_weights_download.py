"""Missing weights are answered with the commands that fetch them."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from infinitetalk_cli.config.load import load_profile
from infinitetalk_cli.config.profile import Profile
from infinitetalk_cli.config.weights import missing_downloads, require_weights, weights_folder
from infinitetalk_cli.errors import DependencyError, ExitCode


@pytest.fixture
def big() -> Profile:
    return load_profile("infinitetalk-480p")


def test_builtin_weights_need_nothing(tmp_path: Path):
    require_weights(load_profile("nano"), tmp_path)


def test_every_repository_gets_its_exact_command(big: Profile, tmp_path: Path):
    root = tmp_path / "my weights"
    with pytest.raises(DependencyError) as caught:
        require_weights(big, root)
    assert caught.value.exit_code == ExitCode.DEPENDENCY
    lines = str(caught.value).splitlines()
    commands = [shlex.split(line) for line in lines if line.startswith("  hf download ")]
    assert [command[2] for command in commands] == [
        "Wan-AI/Wan2.1-I2V-14B-480P",
        "TencentGameMate/chinese-wav2vec2-base",
        "TencentGameMate/chinese-wav2vec2-base",
        "MeiGen-AI/InfiniteTalk",
    ]
    assert commands[2][3:6] == ["model.safetensors", "--revision", "refs/pr/1"]
    assert all(command[-2] == "--local-dir" and command[-1].startswith(str(root)) for command in commands)


def test_running_the_commands_satisfies_the_profile(big: Profile, tmp_path: Path):
    folder = weights_folder(big.model, tmp_path)
    for download in big.model.downloads:
        for name in download.files:
            path = folder / download.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x")
    require_weights(big, tmp_path)

    (folder / "InfiniteTalk/single/infinitetalk.safetensors").write_bytes(b"")  # a download that broke off
    (missing,) = missing_downloads(big.model, tmp_path)
    assert missing.files == ("single/infinitetalk.safetensors",)


def test_absolute_weights_folder_is_taken_as_it_is(big: Profile, tmp_path: Path):
    model = big.model.model_copy(update={"weights": str(tmp_path / "elsewhere")})
    assert weights_folder(model, Path("/unused")) == tmp_path / "elsewhere"
