"""Profiles from YAML: layering, and messages that say which line and what to write instead."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from infinitetalk_cli.config import load
from infinitetalk_cli.config.load import dump_profile, find_profile, list_profiles, load_profile
from infinitetalk_cli.config.model import ModelProfile
from infinitetalk_cli.config.profile import Profile, SamplingProfile
from infinitetalk_cli.errors import ProfileError

MINIMAL = "description: for tests\nmodel: {family: nano, weights: 'builtin:nano'}\n"
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes a YAML file below an otherwise empty current folder."""
    monkeypatch.chdir(tmp_path)

    def write_text(text: str | bytes, name: str = "mine.yaml") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write_text


def message(path: Path | str, **kwargs: object) -> str:
    with pytest.raises(ProfileError) as caught:
        load_profile(path, **kwargs)
    return str(caught.value)


# shipped profiles


@pytest.mark.parametrize("name", list_profiles())
def test_shipped_profile_loads_and_survives_print_profile(name: str, write: Write):
    profile = load_profile(name)
    assert profile.name == name
    assert load_profile(write(dump_profile(profile))) == profile


def test_nano_is_shipped_with_the_numbers_it_was_trained_for():
    nano = load_profile("nano")
    assert nano.model.builtin_name == "nano"
    assert (nano.chunks.num_frames, nano.chunks.context_frames, nano.sampling.num_steps) == (81, 9, 4)
    assert nano.geometry.area_px == 96 * 96
    assert nano.chunks.reference_refresh == "hold"
    assert nano.sampling.last_timestep is None


def test_profiles_are_found_inside_an_installed_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    installed = tmp_path / "infinitetalk_cli" / "profiles"
    installed.mkdir(parents=True)
    (installed / "shipped.yaml").write_text(MINIMAL)
    monkeypatch.setattr(load, "__file__", str(tmp_path / "infinitetalk_cli" / "config" / "load.py"))
    assert list_profiles() == ("shipped",)
    assert load_profile("shipped").name == "shipped"


def test_unknown_name_lists_the_known_ones(write: Write):
    text = message("nanoo")
    assert "did you mean 'nano'?" in text
    assert "infinitetalk-480p" in text


def test_unknown_name_with_a_file_of_that_name_says_how_to_name_it(write: Write):
    write(MINIMAL, "quick.yaml")
    assert "write 'quick.yaml'" in message("quick")


def test_text_with_suffix_or_folder_is_a_path(write: Write):
    path = write(MINIMAL, "sub/quick.yaml")
    assert load_profile("sub/quick.yaml") == load_profile(path)
    assert message("sub/other.yaml") == "sub/other.yaml: no such profile file"


# layers


def test_child_wins_key_by_key_over_what_it_extends(write: Write):
    apg = "{momentum: -0.5, norm_threshold: 3.0}"
    write(MINIMAL + f"sampling: {{num_steps: 8, seed: 7, apg: {apg}}}\n", "base.yaml")
    child = write("extends: ./base.yaml\nsampling: {seed: 9, apg: {norm_threshold: 2}}\n")
    sampling = load_profile(child).sampling
    assert (sampling.num_steps, sampling.seed) == (8, 9)
    assert sampling.apg is not None
    assert (sampling.apg.momentum, sampling.apg.norm_threshold) == (-0.5, 2.0)


def test_child_switches_off_with_null(write: Write):
    write(MINIMAL + "sampling: {apg: {momentum: -0.5}}\naudio: {loudness_lufs: -20}\n", "base.yaml")
    child = load_profile(write("extends: base.yaml\nsampling: {apg: null}\naudio: {loudness_lufs: null}\n"))
    assert child.sampling.apg is None
    assert child.audio.loudness_lufs is None


def test_name_is_the_childs_file_not_the_parents(write: Write):
    write("name: parent\n" + MINIMAL, "base.yaml")
    assert load_profile(write("extends: base.yaml\n", "child.yaml")).name == "child"


def test_extends_finds_shipped_names_and_paths_beside_the_file(write: Write):
    write("extends: nano\nsampling: {num_steps: 2}\n", "deep/two.yaml")
    child = write("extends: two.yaml\nsampling: {seed: 1}\n", "deep/one.yaml")
    sampling = load_profile(child).sampling
    assert (sampling.num_steps, sampling.seed, sampling.timestep_shift) == (2, 1, 4.0)


def test_circle_of_extends_is_named(write: Write):
    write("extends: b.yaml\n", "a.yaml")
    write("\nextends: a.yaml\n", "b.yaml")
    assert message("a.yaml") == "b.yaml:2: extends: goes round in a circle: a.yaml -> b.yaml -> a.yaml"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("nanu", "did you mean 'nano'?"),
        ("gone.yaml", "gone.yaml: no such profile file"),
        ("[a, b]", "the name of one profile"),
    ],
)
def test_unusable_extends_names_its_line(write: Write, value: str, expected: str):
    text = message(write(f"# first\nextends: {value}\n"))
    assert text.startswith("mine.yaml:2: extends: ")
    assert expected in text


def test_problem_in_a_parent_names_the_parents_line(write: Write):
    write(MINIMAL + "sampling:\n  num_step: 3\n", "base.yaml")
    assert message(write("extends: base.yaml\n")).startswith("base.yaml:4: sampling.num_step: unknown key")


def test_overrides_win_and_are_named_by_their_option(write: Write):
    path = write(MINIMAL + "sampling: {num_steps: 8}\n")
    assert load_profile(path, {"sampling.num_steps": 3}).sampling.num_steps == 3
    text = message(path, overrides={"sampling.num_steps": 0}, options={"sampling.num_steps": "--steps"})
    assert text == "--steps: must be at least 1, not 0"


def test_override_reaches_into_a_section_that_was_off(write: Write):
    profile = load_profile(write(MINIMAL), {"sampling.apg.momentum": -0.1, "audio.loudness_lufs": None})
    assert profile.sampling.apg is not None
    assert profile.sampling.apg.momentum == -0.1
    assert profile.audio.loudness_lufs is None


def test_override_adds_to_a_list(write: Write):
    write(
        "description: x\nmodel:\n  {family: infinitetalk, base: b, audio_encoder: a, audio_weights: w,"
        " loras: [{file: first}]}\n",
        "base.yaml",
    )
    more = ({"file": "second", "weight": 0.5}, {"file": "third"})
    loras = load_profile(write("extends: base.yaml\n"), {"model.loras[]": more}).model.loras
    assert [(lora.file, lora.weight) for lora in loras] == [("first", 1.0), ("second", 0.5), ("third", 1.0)]
    text = message(
        "mine.yaml", overrides={"model.loras[]": ({"file": "x", "weight": 99.0},)}, options={"model.loras[]": "--lora"}
    )
    assert text == "--lora: must be at most 10.0, not 99.0"


def test_override_adds_to_a_list_that_is_not_there(write: Write):
    assert "loras: not for family nano" in message(write(MINIMAL), overrides={"model.loras[]": ({"file": "x"},)})


def test_override_of_an_unknown_key_suggests_the_right_one(write: Write):
    text = message(write(MINIMAL), overrides={"sampling.num_step": 3})
    assert text == "sampling.num_step: unknown key; did you mean 'num_steps'?"


# messages


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("sampling: {num_step: 4}", "sampling.num_step: unknown key; did you mean 'num_steps'?"),
        ("num_steps: 4", "num_steps: unknown key; did you mean 'sampling.num_steps'?"),
        ("wibble: 4", "wibble: unknown key"),
        ("sampling: {num_steps: 0}", "sampling.num_steps: must be at least 1, not 0"),
        ("sampling: {num_steps: four}", "sampling.num_steps: must be a whole number, not four"),
        ("sampling: {num_steps: 4.5}", "sampling.num_steps: must be a whole number, not 4.5"),
        ("sampling: {num_steps: '4'}", "must be a whole number, not '4'; remove the quotes"),
        ("sampling: {sdedit_t0: 1e-4}", "must be a number, not 1e-4; YAML reads it as text, write 0.0001"),
        ("sampling: {timestep_shift: 2e-7}", "not 2e-7; YAML reads it as text, write 2.0e-07"),
        ("sampling: {timestep_shift: .nan}", "sampling.timestep_shift: must be a finite number"),
        ("sampling: {prompt: no}", "must be text, not no; YAML reads a bare no as false"),
        ("sampling: {prompt: 12}", "must be text, not 12; put it in quotes"),
        ("sampling: {prompt: 2024-05-01}", "prompt: YAML reads 2024-05-01 as a date; put it in quotes"),
        ("sampling: {seed: 1:30}", "sampling.seed: YAML reads 1:30 as 90 (base sixty)"),
        ("sampling: {timestep_shift: 1:30.5}", "YAML reads 1:30.5 as 90.5 (base sixty)"),
        ("sampling: {seed: 010}", "sampling.seed: YAML reads 010 as 8 (octal)"),
        ("compute: {dtype: bfloat}", "'float32' or 'bfloat16', not bfloat; did you mean 'bfloat16'?"),
        ("chunks: {reference_refresh: off}", "not off; YAML reads a bare off as false"),
        ("chunks: {num_frames: 80}", "must be 1 + 4k (the video codec joins 4 frames); 77 or 81 would do"),
        ("chunks: {num_frames: 9, context_frames: 9}", "chunks.context_frames: must be below num_frames (9)"),
        ("sampling:", "sampling: the section is empty; fill it or remove it"),
        ("sampling: 4", "sampling: must be a section with settings below it, not 4"),
        ("sampling: {prompt: [a]}", "sampling.prompt: must be text, not a list"),
        ("sampling: {apg: {momentun: 0}}", "sampling.apg.momentun: unknown key; did you mean 'momentum'?"),
        ("description: again", "description: given twice, first in line 1; keep one"),
        ("no: 1", "'no' cannot be a key"),
        ("? [a, b]\n: 1", "cannot be a key"),
        ("sampling: {seed: !!python/name:os.system x}", "which profiles do not use"),
        ("sampling: {seed: !!int many}", "'many' is not a valid int"),
        ("sampling: {seed: !!set {a}}", "which profiles do not use"),
        ("audio: {loudness_lufs: +3}", "audio.loudness_lufs: must be at most 0.0, not +3"),
    ],
)
def test_message_names_line_key_and_remedy(write: Write, line: str, expected: str):
    text = message(write(MINIMAL + line + "\n"))
    assert text.startswith("mine.yaml:3: ")
    assert expected in text


def test_digits_of_an_absurdly_long_number_are_refused(write: Write):
    assert "mine.yaml:3: sampling.seed" in message(write(MINIMAL + f"sampling: {{seed: {'9' * 5000}}}\n"))


def test_missing_required_keys_are_named(write: Write):
    text = message(write("description: x\nmodel: {family: nano}\n"))
    assert text == "mine.yaml:2: model: family nano needs weights"


def test_problems_inside_lists_are_named_by_index_and_line(write: Write):
    text = message(
        write(
            "description: x\n"
            "model:\n"
            "  family: infinitetalk\n"
            "  loras:\n"
            "    - {file: a, weight: 1.0}\n"
            "    - file: b\n"
            "      wieght: 1.0\n"
        )
    )
    assert "mine.yaml:7: model.loras[1].wieght: unknown key; did you mean 'weight'?" in text


def test_all_problems_are_reported_options_first_then_by_line(write: Write):
    path = write(MINIMAL + "post: {temporal_smoothing: 2}\nsampling:\n  seed: -1\n  stepz: 1\n")
    lines = message(path, overrides={"sampling.num_steps": 0}, options={"sampling.num_steps": "--steps"}).splitlines()
    places = [line.split(" ")[0] for line in lines]
    assert places == ["--steps:", "mine.yaml:3:", "mine.yaml:5:", "mine.yaml:6:"]


# files that are not profiles


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "mine.yaml: is empty"),
        (b"# only a comment\n", "mine.yaml: is empty"),
        (b"- a\n- b\n", "mine.yaml:1: expected settings as 'key: value' lines"),
        (b"just text\n", "mine.yaml:1: expected settings"),
        (b"a: 1\nsampling:\n\tseed: 1\n", "mine.yaml:3: a tab is used for indentation; YAML wants spaces"),
        (b"a: [1\nb: 2\n", "mine.yaml:2: is not valid YAML"),
        (b"a: 1\n---\nb: 2\n", "mine.yaml:2: is not valid YAML"),
        (b"a: 1\nb: \xff\xfe\n", "mine.yaml:2: is not UTF-8 text"),
        (b"a: 1\nb: \x00\n", "mine.yaml:2: contains a control character"),
        (b"a: &x 1\nb: *x\n", "mine.yaml:1: YAML anchors (& and *) are not used"),
        (b"a: &x [*x]\n", "YAML anchors"),
        (b"a: " + b"[" * 5000, "mine.yaml:1: is nested too deeply"),
        (b"\n".join(b" " * depth + b"a:" for depth in range(40)), "mine.yaml:21: is nested too deeply"),
        (b"#" * (256 * 1024 + 1), "this is not a profile"),
    ],
)
def test_file_that_is_no_profile_is_refused_with_its_line(write: Write, content: bytes, expected: str):
    assert expected in message(write(content))


def test_folder_is_refused(tmp_path: Path):
    assert "cannot be read" in message(tmp_path)


def test_byte_order_mark_and_windows_line_ends_are_fine(write: Write):
    path = write(b"\xef\xbb\xbf" + MINIMAL.replace("\n", "\r\n").encode())
    assert load_profile(path).description == "for tests"


def test_find_profile_says_where_it_is(write: Write):
    assert find_profile("nano").name == "nano.yaml"


# round trip

_TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=40)


@settings(max_examples=40, deadline=None)
@example(prompt="a\x85b\u2028c\ufeff\r\n\t\0\U0001f600", shift=1e-7, seed=0, last=None)
@given(
    prompt=_TEXT,
    shift=st.floats(1e-9, 100.0, exclude_min=True),
    seed=st.integers(0, 2**63 - 1),
    last=st.none() | st.floats(1e-6, 999.0),
)
def test_dump_round_trips(prompt: str, shift: float, seed: int, last: float | None, tmp_path_factory):
    profile = Profile(
        name="x",
        description="y",
        model=ModelProfile(family="nano", weights="builtin:nano"),
        sampling=SamplingProfile(prompt=prompt, timestep_shift=shift, seed=seed, last_timestep=last),
    )
    path = tmp_path_factory.mktemp("dump") / "profile.yaml"
    path.write_text(dump_profile(profile), encoding="utf-8", newline="")
    assert load_profile(path) == profile
