"""The catalogue: well formed, complete for the shipped profiles, and quick to read."""

from __future__ import annotations

import subprocess
import sys

import pytest
from pydantic import ValidationError

from infinitetalk_cli.checkpoints.catalog import Publication, load_catalog, names_of
from infinitetalk_cli.checkpoints.inventory import entry_names
from infinitetalk_cli.config.load import list_profiles, load_profile
from infinitetalk_cli.errors import DependencyError


@pytest.mark.parametrize("profile", list_profiles())
def test_shipped_profiles_name_entries(profile: str) -> None:
    model = load_profile(profile).model
    catalog = load_catalog()
    assert [name for name in names_of(model) if name not in catalog] == []
    if model.family == "infinitetalk":
        kinds = [catalog[name].kind for name in names_of(model)]
        assert kinds == ["base", "audio_encoder", "audio_weights", *["lora"] * len(model.loras)]
        assert entry_names(profile) == names_of(model)


def test_every_base_is_published_in_two_layouts() -> None:
    for name, entry in load_catalog().items():
        expected = {"original", "diffusers"} if entry.kind == "base" else {"original"}
        assert set(entry.layouts) == expected, name


def test_a_shortened_commit_is_no_pin() -> None:
    facts = {"repo": "a/b", "folder": "b", "files": [{"path": "x"}]}
    assert Publication.model_validate({**facts, "commit": None}).commit is None
    with pytest.raises(ValidationError, match="commit"):
        Publication.model_validate({**facts, "commit": "e4ee54a"})


def test_a_misspelt_name_gets_a_suggestion() -> None:
    with pytest.raises(DependencyError, match="did you mean 'InfiniteTalk-multi'"):
        entry_names("InfiniteTalk-mulit")
    with pytest.raises(DependencyError, match="did you mean 'infinitetalk-480p'"):
        entry_names("infinitetalk-48p")


def test_looking_names_up_imports_neither_torch_nor_diffusers() -> None:
    code = (
        "import sys; from pathlib import Path; from infinitetalk_cli.checkpoints.inventory import inventory;"
        "inventory(Path('nowhere')); print([m for m in ('torch', 'diffusers', 'transformers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
