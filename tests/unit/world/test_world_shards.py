import json

import pytest
from safetensors import safe_open

pytest.importorskip("espeakng_loader", reason="speech synthesis needs the extra infinitetalk[train]")

from infinitetalk_cli.progress import SilentProgress
from infinitetalk_cli.world.dataset import (
    HELD_OUT_FIRST_SEED,
    amplitudes,
    held_out_world,
    read_shards,
    render_world,
)
from infinitetalk_cli.world.phrases import HELD_OUT_LANGUAGE, TEST_LANGUAGES, TRAINING_LANGUAGES
from infinitetalk_cli.world.settings import PictureSize, WorldSettings
from infinitetalk_cli.world.speech import HELD_OUT_VOICES, TRAINING_VOICES, Voice, say

SHAPES = {"frames": (9, 32, 48, 3), "mouth": (9, 4), "mouth_px": (9, 2), "mouth_half": (2,), "face": (9, 2)} | {
    "head": (9, 6), "camera": (9, 4), "hands": (9, 2, 3), "waveform": (9 * 640,), "seed": ()
}  # fmt: skip


@pytest.fixture
def settings():
    return WorldSettings(
        num_clips=3,
        clips_per_shard=2,
        clip_frames=9,
        sizes=(PictureSize(height=32, width=48, share=1.0),),
        head_motion=(0.0, 1.0),
        camera_motion=(0.2, 1.0),
        hands=0.5,
        seed=7,
    )


def test_shards_are_the_same_however_many_processes_draw(settings, tmp_path):
    one = render_world(tmp_path / "one", settings, SilentProgress())
    two = render_world(tmp_path / "two", settings, SilentProgress(), workers=2)
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in two]


def test_a_shard_holds_the_truth_and_a_missing_one_is_made_again(settings, tmp_path):
    paths = render_world(tmp_path, settings, SilentProgress())
    first, second = read_shards(paths)
    assert {name: tuple(tensor.shape[1:]) for name, tensor in first.items()} == SHAPES
    assert first["seed"].tolist() + second["seed"].tolist() == [7, 8, 9]
    assert first["camera"][:, :, 2].min() != 1
    with safe_open(paths[0], "pt") as file:
        about = json.loads(file.metadata()["about"])
    assert set(about["languages"]) <= set(TRAINING_LANGUAGES)
    assert about["held_out"] is False
    before = paths[1].read_bytes()
    untouched = paths[0].stat().st_mtime_ns
    paths[1].unlink()
    render_world(tmp_path, settings, SilentProgress())
    assert paths[1].read_bytes() == before
    assert paths[0].stat().st_mtime_ns == untouched


def test_amplitudes_stay_in_their_ranges_and_each_part_of_the_camera_has_its_share(settings):
    some = settings.model_copy(update={"head_motion": (0.2, 0.4), "camera_zoom": 0.0, "camera_shake": 1.0})
    for seed in range(30):
        head, camera = amplitudes(seed, some)
        assert 0.2 <= head <= 0.4
        assert camera.zoom == 0
        assert 0.2 <= camera.pan == camera.shake <= 1


def test_nothing_of_the_tests_is_in_training(settings):
    assert len(TRAINING_LANGUAGES) >= 5
    assert HELD_OUT_LANGUAGE not in TRAINING_LANGUAGES
    assert set(TEST_LANGUAGES) <= set(TRAINING_LANGUAGES)
    assert not set(HELD_OUT_VOICES) & set(TRAINING_VOICES)
    assert held_out_world(settings, 4).seed == HELD_OUT_FIRST_SEED > settings.seed + 1_000_000


@pytest.mark.parametrize("language", [*TRAINING_LANGUAGES, HELD_OUT_LANGUAGE])
def test_every_language_is_spoken_with_accents(language):
    speech = say("papa mama banana", Voice(language, "f2"))
    assert speech.mouth.openness.max() > 0.5
    assert speech.prosody.accents
    assert len(speech.prosody.loudness) == len(speech.mouth)
