"""Training configurations: the shipped ones load, and what is wrong is named with file, line and key."""

import pytest

from infinitetalk_cli.errors import ProfileError
from infinitetalk_cli.train.config import list_settings, load_settings
from infinitetalk_cli.train.lora_settings import LoraSettings


@pytest.fixture
def write(tmp_path):
    def to_file(text):
        path = tmp_path / "mine.yaml"
        path.write_text(text, encoding="utf-8")
        return str(path)

    return to_file


@pytest.mark.parametrize("name", list_settings())
def test_shipped_configurations_are_sound(name):
    assert load_settings(name).name == name


def test_ablations_differ_in_the_strategy_only():
    """Trained alike, or the comparison says nothing."""
    found = {}
    for strategy in ("m0", "m1", "m2", "m3"):
        settings = load_settings(f"ablation-{strategy}")
        assert settings.flow.reference == strategy
        alike = settings.flow.model_copy(update={"reference": "m3"})
        found[strategy] = settings.model_copy(update={"name": "", "flow": alike})
    for baseline in ("i2v", "fl2v"):
        settings = load_settings(f"ablation-{baseline}")
        assert getattr(settings.flow, f"{baseline}_share") == 1
        alike = settings.flow.model_copy(update={"i2v_share": 0.0, "fl2v_share": 0.0})
        found[baseline] = settings.model_copy(update={"name": "", "flow": alike})
    assert all(settings == found["m3"] for settings in found.values())


def test_the_lora_template_is_one():
    assert isinstance(load_settings("lora-infinitetalk"), LoraSettings)


def test_a_wrong_key_is_named_with_its_line_and_a_suggestion(write):
    path = write("extends: nano\nworld:\n  num_clip: 3\n")
    with pytest.raises(ProfileError, match=r"mine.yaml:3: world.num_clip: unknown key; did you mean 'num_clips'\?"):
        load_settings(path)


def test_a_value_in_a_phase_is_named_with_its_line(write):
    path = write(
        "extends: nano\nflow:\n  phases:\n"
        "    - {num_steps: 4, chunk_frames: 21, batch_size: 2}\n"
        "    - {num_steps: 4, chunk_frames: 20, batch_size: 2}\n"
    )
    with pytest.raises(ProfileError, match=r"mine.yaml:5: flow.phases\[1\].chunk_frames: must be 1 \+ 4 k"):
        load_settings(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("extends: nano\nflow:\n  reference: m2\n", r"clip_frames: a clip of 93 frames holds no chunk of 21 .* m2"),
        ("extends: nano\nparts_from: nano\n", "section audio has no effect beside parts_from"),
        (
            "extends: nano\nflow:\n  phases:\n    - {num_steps: 1, chunk_frames: 21, batch_size: 1, world: far}\n",
            r"mine.yaml:4: flow.phases\[0\].world: no world is called 'far'",
        ),
        ("extends: nano\nflow:\n  init_from: nano\n", "either section transformer"),
        ("extends: nano\nflow: {i2v_share: 0.7, fl2v_share: 0.6}\n", "1.3 together, above 1"),
        ("extends: lora-infinitetalk\nflow: {precision: bf16}\n", r"mine.yaml:2: flow.precision: must be no"),
        ("extends: lora-infinitetalk\nlora: {targets: [attention]}\n", r"mine.yaml:2: lora.targets\[0\]: must be"),
    ],
)
def test_what_does_not_go_together_is_refused(write, text, message):
    with pytest.raises(ProfileError, match=message):
        load_settings(write(text))


def test_an_unknown_configuration_names_the_shipped_ones():
    with pytest.raises(ProfileError, match=r"shipped: .*finetune-nano.*nano-motion"):
        load_settings("nanoo")
