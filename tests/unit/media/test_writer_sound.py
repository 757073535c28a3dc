"""The sound of a finished file: in step with the picture, at full quality, cut where asked."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from media_clips import MakeClip
from synthetic import (
    Clip,
    ClipAudio,
    click,
    click_time,
    draw,
    make_audio,
    make_clip,
    read_all_samples,
    tone,
    with_unknown_video,
)

from infinitetalk_cli.errors import OutputError
from infinitetalk_cli.media.containers import EncodeSettings
from infinitetalk_cli.media.info import MediaInfo
from infinitetalk_cli.media.probe import probe
from infinitetalk_cli.media.writer import write_output

NUM_FRAMES = 50
CLICK_S = 1.234
SYNC_S = 0.0015  # Matroska's clock ticks every millisecond

Dub = Callable[..., MediaInfo]


@pytest.fixture
def dub(tmp_path: Path, clip_file: MakeClip) -> Dub:
    """Writes a file over a plain clip and returns what it says about itself."""

    def write(sound: Path, name: str, source: Path | None = None, num_frames: int = NUM_FRAMES, **options: object):
        source = source or clip_file("a.mp4", Clip(num_frames=3))
        write_output(
            tmp_path / name, (draw(n, 48, 32) for n in range(num_frames)), num_frames, Fraction(25),
            source=source, source_info=probe(source), dub_audio=sound, **options,
        )  # fmt: skip
        return probe(tmp_path / name)

    return write


def heard_at(path: Path, info: MediaInfo, track: int = 0) -> float:
    """When the click of a track sounds, counted from the first frame."""
    samples, rate_hz, first_s = read_all_samples(path, track)
    return click_time(samples, rate_hz) + first_s - float(info.start_s + info.video.start_s)


SOUNDS = [
    ("dub.wav", None, 44_100, 2),
    ("dub.flac", None, 48_000, 1),
    ("dub.mp3", None, 44_100, 2),
    ("dub.m4a", None, 48_000, 2),
    ("dub.ogg", None, 44_100, 2),
    ("dub.opus", None, 48_000, 2),
]
COPIED = {
    ".mp4": {"dub.flac": "flac", "dub.mp3": "mp3", "dub.m4a": "aac", "dub.opus": "opus"},
    ".mov": {"dub.wav": "pcm_s16le", "dub.mp3": "mp3", "dub.m4a": "aac"},
    ".mkv": {
        "dub.wav": "pcm_s16le", "dub.flac": "flac", "dub.mp3": "mp3", "dub.m4a": "aac", "dub.ogg": "vorbis",
        "dub.opus": "opus",
    },
    ".webm": {"dub.ogg": "vorbis", "dub.opus": "opus"},
}  # fmt: skip


@pytest.mark.parametrize("suffix", COPIED)
@pytest.mark.parametrize(("name", "codec", "rate_hz", "channels"), SOUNDS)
def test_an_impulse_is_heard_where_it_was(
    tmp_path: Path, dub: Dub, suffix: str, name: str, codec: str | None, rate_hz: int, channels: int
):
    sound = make_audio(tmp_path / name, click(CLICK_S, 2.0, rate_hz, channels), rate_hz, codec)
    info = dub(sound, f"a{suffix}")
    written = info.audio[0]
    fallback = "opus" if suffix == ".webm" else "aac"
    assert (written.codec, written.channels) == (COPIED[suffix].get(name, fallback), channels)
    assert written.rate_hz == (48_000 if written.codec == "opus" else rate_hz)
    assert heard_at(tmp_path / f"a{suffix}", info) == pytest.approx(CLICK_S, abs=SYNC_S)


@pytest.mark.parametrize("suffix", COPIED)
@pytest.mark.parametrize("name", ["dub.wav", "dub.flac", "dub.mp3", "dub.m4a"])
def test_a_stretch_from_the_middle(tmp_path: Path, dub: Dub, suffix: str, name: str):
    sound = make_audio(tmp_path / name, click(CLICK_S, 3.0, 44_100), 44_100)
    info = dub(sound, f"a{suffix}", num_frames=25, audio_start_s=Fraction(1, 3), audio_stop_s=Fraction(4, 3))
    assert heard_at(tmp_path / f"a{suffix}", info) == pytest.approx(CLICK_S - 1 / 3, abs=SYNC_S)
    samples, rate_hz, _ = read_all_samples(tmp_path / f"a{suffix}")
    assert 1.0 <= len(samples) / rate_hz < 1.07  # whole frames of the codec


@pytest.mark.parametrize("name", ["dub.wav", "dub.flac", "dub.mp3", "dub.m4a"])
def test_sound_longer_than_asked_ends_there(tmp_path: Path, dub: Dub, name: str):
    sound = make_audio(tmp_path / name, tone(3.0, 44_100), 44_100)
    info = dub(sound, "a.mp4", audio_stop_s=Fraction(2))
    assert abs(info.audio[0].duration_s - 2) < Fraction(1, 100)
    assert info.duration_s < Fraction(21, 10)


@pytest.mark.parametrize(
    ("name", "codec"), [("a.mkv", "auto"), ("a.mov", "auto"), ("a.mp4", "flac"), ("a.mp4", "alac")]
)
@pytest.mark.parametrize("start_s", [Fraction(0), Fraction(1, 3)])
def test_lossless_stays_lossless(tmp_path: Path, dub: Dub, name: str, codec: str, start_s: Fraction):
    original = np.round(tone(2.0, 44_100, 2) * 32_767).astype(np.float32) / 32_768
    sound = make_audio(tmp_path / "dub.wav", original, 44_100)
    dub(sound, name, settings=EncodeSettings(audio_codec=codec), audio_start_s=start_s)
    samples, _, _ = read_all_samples(tmp_path / name)
    np.testing.assert_array_equal(samples, original[round(start_s * 44_100) :])


def test_twenty_four_bits_are_kept(tmp_path: Path, dub: Dub):
    original = np.round(tone(1.0) * 2**23).astype(np.float32) / 2**23
    sound = make_audio(tmp_path / "dub.wav", original, codec="pcm_s24le")
    for name, codec in (("a.mkv", "auto"), ("b.mkv", "flac"), ("c.mp4", "alac")):
        dub(sound, name, settings=EncodeSettings(audio_codec=codec))
        samples, _, _ = read_all_samples(tmp_path / name)
        np.testing.assert_array_equal(samples, original)


@pytest.mark.parametrize(("rate_hz", "channels"), [(8_000, 1), (11_025, 2), (96_000, 2), (192_000, 2), (48_000, 6)])
@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
def test_any_rate_and_number_of_channels(tmp_path: Path, dub: Dub, rate_hz: int, channels: int, suffix: str):
    sound = make_audio(tmp_path / "dub.wav", click(CLICK_S, 2.0, rate_hz, channels), rate_hz)
    info = dub(sound, f"a{suffix}")
    assert info.audio[0].channels == channels
    assert heard_at(tmp_path / f"a{suffix}", info) == pytest.approx(CLICK_S, abs=SYNC_S)


@pytest.mark.parametrize("num_channels", [3, 4, 5, 7, 8])
@pytest.mark.parametrize("codec", ["aac", "flac", "alac", "opus"])
def test_more_channels_than_two(tmp_path: Path, dub: Dub, num_channels: int, codec: str, caplog):
    sound = make_audio(tmp_path / "dub.wav", click(CLICK_S, 2.0, channels=num_channels))
    info = dub(sound, "a.mp4", settings=EncodeSettings(audio_codec=codec))
    is_kept = info.audio[0].channels == num_channels
    assert is_kept or info.audio[0].layout == "5.1"
    assert is_kept != any("is written as 5.1" in record.getMessage() for record in caplog.records)
    assert heard_at(tmp_path / "a.mp4", info) == pytest.approx(CLICK_S, abs=SYNC_S)


def loudspeakers(layout: str) -> list[str]:
    """Names of a layout's channels in order; "side" and "back" are one word where there is only one pair."""
    names = [channel.name for channel in av.AudioLayout(layout).channels]
    return names if "BL" in names else [name.replace("S", "B") for name in names]


@pytest.mark.parametrize(
    ("layout", "codec"),
    [("quad", "flac"), ("quad", "alac"), ("5.0(side)", "alac"), ("5.1(side)", "flac"), ("5.1(side)", "alac"),
     ("7.1", "flac")],
)  # fmt: skip
def test_each_loudspeaker_gets_its_own_sound(tmp_path: Path, dub: Dub, layout: str, codec: str):
    names = loudspeakers(layout)
    original = tone(1.0, channels=len(names)) * np.linspace(0.2, 1, len(names), dtype=np.float32)
    sound = make_audio(tmp_path / "dub.wav", original, codec="pcm_s24le", layout=layout)
    info = dub(sound, "a.mp4", settings=EncodeSettings(audio_codec=codec))
    written = loudspeakers(info.audio[0].layout)
    samples, _, _ = read_all_samples(tmp_path / "a.mp4")
    for place, name in enumerate(names):
        np.testing.assert_allclose(samples[:, written.index(name)], original[:, place], atol=1e-5)


def test_of_channels_without_a_place_the_first_two_are_kept(tmp_path: Path, dub: Dub, caplog):
    sound = make_audio(tmp_path / "dub.wav", click(CLICK_S, 2.0, channels=16), layout="hexadecagonal")
    info = dub(sound, "a.mp4")
    assert (info.audio[0].layout, "is written as stereo" in caplog.text) == ("stereo", True)


def test_the_sound_of_a_video_that_nobody_can_show(tmp_path: Path, dub: Dub):
    clip = make_clip(tmp_path / "a.mp4", Clip(audio=(ClipAudio(click(CLICK_S, 2.0)),)))
    info = dub(with_unknown_video(clip, tmp_path / "speaker.mp4"), "b.mp4")
    assert heard_at(tmp_path / "b.mp4", info) == pytest.approx(CLICK_S, abs=SYNC_S)


def test_the_sound_of_a_video_file_as_dub(tmp_path: Path, dub: Dub):
    speaker = make_clip(tmp_path / "speaker.mp4", Clip(audio=(ClipAudio(click(0.5, 1.0), start_s=Fraction(1, 2)),)))
    info = dub(speaker, "a.mp4")
    assert heard_at(tmp_path / "a.mp4", info) == pytest.approx(1.0, abs=SYNC_S)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov", ".webm"])
@pytest.mark.parametrize("start_s", [Fraction(0), Fraction(1, 4)])
@pytest.mark.parametrize("source_name", ["s.mp4", "s.mkv", "s.ts", "s.avi"])
def test_the_original_sound_is_kept_in_step_too(
    tmp_path: Path, dub: Dub, clip_file: MakeClip, suffix: str, start_s: Fraction, source_name: str
):
    source = clip_file(source_name, Clip(audio=(ClipAudio(click(0.5, 2.0), language="deu"),)))
    sound = make_audio(tmp_path / "dub.wav", click(CLICK_S, 2.0))
    settings = EncodeSettings(keep_original_audio=True)
    info = dub(sound, f"a{suffix}", source, 40, source_start_s=start_s, settings=settings, dub_language="fra")
    path = tmp_path / f"a{suffix}"
    new, old = info.audio
    assert heard_at(path, info, 0) == pytest.approx(CLICK_S, abs=SYNC_S)
    # Transport streams and AVI cannot tell their encoder's delay: there the click comes late already.
    before = probe(source)
    expected_s = heard_at(source, before) + float(before.video.start_s - start_s)
    assert heard_at(path, info, 1) == pytest.approx(expected_s, abs=SYNC_S)
    languages = {".mov": ("fra", "ger")}.get(suffix, ("fra", "deu"))
    if source_name != "s.avi":  # AVI has no languages
        assert (new.language, old.language) == languages
    assert (new.is_default, old.is_default) == (True, False)
    assert old.title == "original"


@pytest.mark.parametrize(
    ("given", "kept"), [("swe", "sve"), ("nld", "dut"), ("cze", "ces"), ("eng", "eng"), ("zho", "chi")]
)
def test_quicktime_keeps_languages(tmp_path: Path, dub: Dub, given: str, kept: str):
    sound = make_audio(tmp_path / "dub.wav", tone(0.2))
    assert dub(sound, "a.mov", num_frames=3, dub_language=given).audio[0].language == kept


def test_a_copy_from_the_middle_is_refused(tmp_path: Path, dub: Dub):
    sound = make_audio(tmp_path / "dub.m4a", tone(2.0))
    with pytest.raises(OutputError, match="from its middle on"):
        dub(sound, "a.mp4", settings=EncodeSettings(audio_codec="copy"), audio_start_s=Fraction(1, 2))
