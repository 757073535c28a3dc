import numpy as np
import pytest

from infinitetalk_cli.world.clip import make_clip
from infinitetalk_cli.world.phonemes import MouthTrack, mouth_track, shape_of


def track(openness, width=0.5, num_frames=12):
    """A mouth that does not move."""
    rows = np.tile(np.array([openness, width, 0.3, 0.2], np.float32), (num_frames, 1))
    return MouthTrack.from_stacked(rows)


def mouth_window(clip):
    """(t, rows, columns, 3) float pixels of the widest the mouth gets."""
    (column, row), (half_x, half_y) = clip.mouth_px[0].round().astype(int), map(int, clip.mouth_half_px)
    return clip.frames_u8[:, row - half_y : row + half_y, column - half_x : column + half_x].astype(float)


def test_the_same_seed_gives_the_same_clip_and_another_seed_another_person():
    mouth = track(0.4)
    first, again, other = make_clip(5, mouth, 64, 48), make_clip(5, mouth, 64, 48), make_clip(6, mouth, 64, 48)
    np.testing.assert_array_equal(first.frames_u8, again.frames_u8)
    assert first.frames_u8.shape == (12, 64, 48, 3)
    assert np.abs(first.frames_u8.astype(int) - other.frames_u8).mean() > 5


@pytest.mark.parametrize("seed", [1, 2, 11, 29])
def test_an_open_mouth_shows_its_inside_and_changes_little_else(seed):
    closed, wide = (make_clip(seed, track(o, num_frames=2), 96, 96, head_motion=0.0) for o in (0.0, 1.0))
    change = np.abs(wide.frames_u8.astype(int) - closed.frames_u8).mean(axis=(0, 3))
    column, row = wide.mouth_px[0].round().astype(int)
    assert change[row - 4 : row + 5, column - 4 : column + 5].mean() > 15
    assert change[:24].mean() < 2.0
    inside = np.array([66, 18, 20])
    seen = [(np.abs(mouth_window(clip) - inside).max(axis=3) < 12).mean() for clip in (closed, wide)]
    assert seen[1] > seen[0] + 0.05


def test_a_wide_mouth_covers_more_columns_than_a_round_one():
    round_, wide = (make_clip(3, track(0.3, width, 1), 192, 192, head_motion=0.0) for width in (0.0, 1.0))
    change = np.abs(wide.frames_u8.astype(int) - round_.frames_u8)[0].sum(axis=2) > 60
    columns = np.flatnonzero(change.any(axis=0))
    middle = wide.mouth_px[0, 0]
    assert columns.min() < middle - 0.6 * wide.mouth_half_px[0]
    assert columns.max() > middle + 0.6 * wide.mouth_half_px[0]


def test_the_picture_scales_with_its_size():
    small, large = make_clip(4, track(0.6, num_frames=1), 96, 96), make_clip(4, track(0.6, num_frames=1), 192, 192)
    halved = large.frames_u8.reshape(1, 96, 2, 96, 2, 3).mean(axis=(2, 4))
    assert np.abs(halved - small.frames_u8).mean() < 4
    np.testing.assert_allclose(large.mouth_px, 2 * small.mouth_px + 0.5, atol=0.02)


def test_lips_close_on_m_however_short_it_is():
    mouth = mouth_track([(0.0, "a"), (0.40, "m"), (0.43, "a")], duration_s=0.8)
    assert len(mouth) == 20
    assert mouth.openness[5] > 0.8
    assert mouth.openness[10:12].min() < 0.3


@pytest.mark.parametrize(("phoneme", "openness"), [("ˈɑː", 1.0), ("b", 0.0), ("", 0.0)])
def test_shapes_follow_the_first_sound_of_a_phoneme(phoneme, openness):
    assert shape_of(phoneme)[0] == openness


def test_the_language_mark_is_no_sound():
    assert shape_of("(en)") is None
