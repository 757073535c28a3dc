"""`pytest tests/golden --golden-dir DIR`: what it must not let pass."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from golden.harness import find_cases
from golden.kinds import KINDS
from safetensors.torch import load_file, save_file

pytest_plugins = ["pytester"]

GOLDEN_TESTS = Path(__file__).parents[2] / "golden"
DIT_FILES = ("dit_single.json", "dit_single.safetensors", "dit_weights.safetensors")


@pytest.fixture
def goldens(tmp_path: Path) -> Path:
    """A folder with one good golden."""
    folder = tmp_path / "goldens"
    folder.mkdir()
    for name in DIT_FILES:
        shutil.copy(GOLDEN_TESTS / "data" / name, folder)
    return folder


def outcomes(folder: Path, pattern: str = ".*") -> dict[str, str]:
    """What every case below `folder` fails with, an empty text if it passes; of cases whose name matches."""
    cases = find_cases(folder, KINDS)
    return {case.name: outcome_of(case.check) for case in cases if re.fullmatch(pattern, case.name)}


def outcome_of(check: Callable[[], object]) -> str:
    try:
        check()
    except Exception as exc:
        return str(exc) or type(exc).__name__
    return ""


def edit_json(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def drop(tensors: dict[str, torch.Tensor], pattern: str) -> None:
    for name in [name for name in tensors if re.fullmatch(pattern, name)]:
        tensors.pop(name)


def edit_tensors(path: Path, edit: Callable[[dict[str, torch.Tensor]], object]) -> None:
    tensors = load_file(path)
    edit(tensors)
    save_file(tensors, path)


def test_command_reports_passes_and_failures(pytester: pytest.Pytester, goldens: Path) -> None:
    (goldens / "later").mkdir()
    (goldens / "later" / "network.json").write_text("{}")
    arguments = (GOLDEN_TESTS, "--golden-dir", goldens, "-p", "no:cacheprovider", "--rootdir", GOLDEN_TESTS)
    result = pytester.runpytest_inprocess(*map(str, arguments))
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["*later/network.json: unknown kind of golden", "dit_single-case0: * compared)"])


def test_good_golden_passes_under_the_name_of_its_kind(goldens: Path) -> None:
    assert outcomes(goldens) == {"dit_single-case0": "", "dit_single-case1": ""}


def test_golden_in_a_subfolder_is_found(goldens: Path) -> None:
    (goldens / "more").mkdir()
    for name in DIT_FILES:
        (goldens / name).rename(goldens / "more" / name)
    (goldens / "more" / "README.md").write_text("no golden")
    assert outcomes(goldens) == {"more/dit_single-case0": "", "more/dit_single-case1": ""}


def test_folder_of_one_family_is_a_golden_folder_too(tmp_path: Path) -> None:
    family = tmp_path / "fid"
    family.mkdir()
    for name in ("frechet.json", "frechet.safetensors"):
        shutil.copy(GOLDEN_TESTS / "data" / "fid" / name, family / name)
    assert set(outcomes(family).values()) == {""}


def test_unknown_kind_fails(goldens: Path) -> None:
    shutil.copy(goldens / "dit_single.json", goldens / "dit_three_people.json")
    shutil.copy(goldens / "dit_single.safetensors", goldens / "dit_three_people.safetensors")
    assert "unknown kind" in outcomes(goldens)["dit_three_people"]


@pytest.mark.parametrize("leftover", [(), ("dit_weights.safetensors",)], ids=["empty", "only weights"])
def test_folder_without_a_golden_fails(goldens: Path, leftover: tuple[str, ...]) -> None:
    for path in goldens.iterdir():
        if path.name not in leftover:
            path.unlink()
    assert "holds no golden" in outcomes(goldens)["nothing"]


@pytest.mark.parametrize("missing", ["dit_single.safetensors", "dit_single.json"])
def test_golden_without_its_other_half_fails(goldens: Path, missing: str) -> None:
    (goldens / missing).unlink()
    assert outcomes(goldens)["dit_single"]


def test_golden_without_its_weights_fails(goldens: Path) -> None:
    (goldens / "dit_weights.safetensors").unlink()
    assert all("needs these weights" in outcome for outcome in outcomes(goldens).values())


@pytest.mark.parametrize("text", ["{", "[]"])
def test_broken_json_fails(goldens: Path, text: str) -> None:
    (goldens / "dit_single.json").write_text(text)
    assert "dit_single.json" in outcomes(goldens)["dit_single"]


def test_golden_without_cases_fails(goldens: Path) -> None:
    edit_json(goldens / "dit_single.json", cases=[], tensors={})
    edit_tensors(goldens / "dit_single.safetensors", dict.clear)
    assert "holds no case" in outcomes(goldens)["dit_single"]


@pytest.mark.parametrize("name", ["out.noise_pred", "mid.block0_out", "mid.block1_ref_attn_map"])
def test_changed_value_fails(goldens: Path, name: str) -> None:
    edit_tensors(goldens / "dit_single.safetensors", lambda tensors: tensors[f"case0.{name}"].flatten()[3].add_(0.01))
    found = outcomes(goldens)
    assert re.match(rf"{name}: largest .*error .* exceeds", found["dit_single-case0"])
    assert found["dit_single-case1"] == ""


def test_not_a_number_fails(goldens: Path) -> None:
    edit_tensors(goldens / "dit_single.safetensors", lambda tensors: tensors["case0.out.noise_pred"].fill_(torch.nan))
    assert "exceeds" in outcomes(goldens)["dit_single-case0"]


@pytest.mark.parametrize("listed", [True, False])
def test_missing_output_fails(goldens: Path, listed: bool) -> None:
    edit_tensors(goldens / "dit_single.safetensors", lambda tensors: tensors.pop("case0.out.noise_pred"))
    if not listed:
        edit_json(goldens / "dit_single.json", tensors={})
    assert any("missing" in outcome for outcome in outcomes(goldens).values())


def test_missing_intermediate_values_are_allowed(goldens: Path) -> None:
    edit_tensors(goldens / "dit_single.safetensors", lambda tensors: drop(tensors, r"case\d\.mid\..*"))
    assert not any(outcomes(goldens).values())


@pytest.mark.parametrize("name", ["case0.out.another", "case0.mid.block7_out", "case9.out.noise_pred", "surprise"])
def test_tensor_of_unknown_meaning_fails(goldens: Path, name: str) -> None:
    edit_tensors(goldens / "dit_single.safetensors", lambda tensors: tensors.update({name: torch.zeros(2)}))
    assert any(outcomes(goldens).values())


def test_unknown_setting_of_a_case_fails(goldens: Path) -> None:
    spec = json.loads((goldens / "dit_single.json").read_text())
    spec["cases"][0]["dropout"] = 0.5
    (goldens / "dit_single.json").write_text(json.dumps(spec))
    assert "dropout" in outcomes(goldens)["dit_single"]


def test_tolerance_comes_from_the_file(goldens: Path) -> None:
    spec = json.loads((goldens / "dit_single.json").read_text())
    edit_json(goldens / "dit_single.json", tolerance={**spec["tolerance"], "max_abs": 1e-9})
    assert all("exceeds 1e-09" in outcome for outcome in outcomes(goldens).values())


def test_unknown_setting_of_a_mode_fails(goldens: Path) -> None:
    for name in ("sampler.json", "sampler.safetensors"):
        shutil.copy(GOLDEN_TESTS / "data" / name, goldens)
    spec = json.loads((goldens / "sampler.json").read_text())
    spec["modes"]["cfg2"]["teacache"] = True
    (goldens / "sampler.json").write_text(json.dumps(spec))
    assert "unknown settings: teacache" in outcomes(goldens)["sampler"]


@pytest.mark.parametrize("name", ["cfg2.frames_lowres", "cfg2.final_latents", "cfg3.latents", "cfg3.y", "two.noise"])
def test_changed_value_of_the_sampler_fails(goldens: Path, name: str) -> None:
    for file in ("sampler.json", "sampler.safetensors"):
        shutil.copy(GOLDEN_TESTS / "data" / file, goldens)
    edit_tensors(goldens / "sampler.safetensors", lambda tensors: tensors[name][0].flatten()[-1].add_(0.1))
    mode = name.partition(".")[0]
    assert outcomes(goldens, f"sampler-{mode}")[f"sampler-{mode}"]
