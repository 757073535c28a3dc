"""What the rehearsal of an output says before the work is what the writer would say after it."""

from __future__ import annotations

import time
from fractions import Fraction
from pathlib import Path

import pytest
from media_clips import MakeClip
from synthetic import Clip, ClipAudio, draw, make_audio, tone

from infinitetalk_cli.errors import OutputError
from infinitetalk_cli.media.containers import CONTAINERS, EncodeSettings
from infinitetalk_cli.media.probe import probe, probe_audio, require_audio
from infinitetalk_cli.media.rehearsal import rehearse_output
from infinitetalk_cli.media.writer import write_output

RATE = Fraction(25)
LATER = Fraction(1, 2)
ZERO = Fraction(0)

SETTINGS = [
    EncodeSettings(),
    EncodeSettings(preset="bogus"),
    EncodeSettings(video_codec="hevc", preset="ultrafast"),
    EncodeSettings(video_codec="av1", preset="99"),
    EncodeSettings(video_codec="vp9", preset="slow"),
    EncodeSettings(quality=60),
    EncodeSettings(audio_codec="copy"),
    EncodeSettings(audio_codec="opus"),
    EncodeSettings(audio_codec="alac"),
]


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("sounds")
    stereo = tone(1.0, 44_100, 2)
    files = {name: make_audio(folder / name, stereo, 44_100) for name in ("a.wav", "a.mp3", "a.m4a", "a.flac")}
    files |= {f"{count}.wav": make_audio(folder / f"{count}.wav", tone(1.0, channels=count)) for count in (3, 4, 8)}
    return files


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm"])
@pytest.mark.parametrize("settings", SETTINGS, ids=repr)
@pytest.mark.parametrize(("name", "start_s"), [
    ("a.wav", ZERO), ("a.wav", LATER), ("a.mp3", ZERO), ("a.mp3", LATER), ("a.flac", LATER), ("a.m4a", ZERO),
    ("3.wav", ZERO), ("4.wav", ZERO), ("8.wav", ZERO),
])  # fmt: skip
def test_it_agrees_with_the_writer(
    tmp_path: Path, clip_file: MakeClip, sounds: dict[str, Path], suffix: str, settings: EncodeSettings, name: str,
    start_s: Fraction,
):  # fmt: skip
    source, sound = clip_file("a.mp4", Clip(num_frames=25)), sounds[name]
    path, info = tmp_path / f"a{suffix}", probe(source)

    def rehearse() -> None:
        dub = require_audio(sound, probe_audio(sound))
        rehearse_output(path, settings, info, dub, RATE, starts_at_zero=start_s == 0)

    def write() -> None:
        write_output(
            path, (draw(n) for n in range(5)), 5, RATE, source=source, source_info=info, dub_audio=sound,
            audio_start_s=start_s, audio_stop_s=start_s + Fraction(1, 5), source_start_s=start_s, settings=settings,
        )  # fmt: skip

    refusals = []
    for act in (rehearse, write):
        try:
            act()
            refusals.append(None)
        except OutputError as exc:
            refusals.append(str(exc))
    assert refusals[0] == refusals[1]


@pytest.mark.parametrize(
    ("settings", "name", "start_s", "message"),
    [
        (EncodeSettings(preset="bogus"), "a.wav", ZERO, "encoder preset 'bogus'"),
        (EncodeSettings(video_codec="av1", preset="99"), "a.wav", ZERO, "encoder preset '99'"),
        (EncodeSettings(video_codec="vp9", preset="slow"), "a.wav", ZERO, "encoder preset 'slow'"),
        (EncodeSettings(quality=64), "a.wav", ZERO, "quality 64"),
        (EncodeSettings(audio_codec="copy"), "a.mp3", LATER, "from its middle on; choose auto, aac.* as audio codec"),
        (EncodeSettings(audio_codec="copy"), "a.wav", ZERO, "into this container; choose auto, aac.* as audio codec"),
    ],
)
def test_the_option_is_named(
    clip_file: MakeClip, sounds: dict[str, Path], settings: EncodeSettings, name: str, start_s: Fraction, message: str
):
    dub = require_audio(sounds[name], probe_audio(sounds[name]))
    source = probe(clip_file("a.mp4", Clip(num_frames=3)))
    with pytest.raises(OutputError, match=message):
        rehearse_output(Path("a.mp4"), settings, source, dub, RATE, starts_at_zero=start_s == 0)


def test_sizes_that_the_encoder_refuses(clip_file: MakeClip, sounds: dict[str, Path]):
    dub = require_audio(sounds["a.wav"], probe_audio(sounds["a.wav"]))
    source = probe(clip_file("a.mp4", Clip(num_frames=3)))
    for codec, size, message in (
        ("h264", (20_000, 64), "h264 cannot encode pictures of 20000x64 at 25 frames per second"),
        ("hevc", (34, 34), "narrower than 49 pixels"),
    ):
        with pytest.raises(OutputError, match=message):
            rehearse_output(
                Path("a.mp4"), EncodeSettings(video_codec=codec), source, dub, RATE, starts_at_zero=True, size=size
            )


def test_kept_original_sound_is_rehearsed_too(
    clip_file: MakeClip, sounds: dict[str, Path], caplog: pytest.LogCaptureFixture
):
    dub = require_audio(sounds["a.wav"], probe_audio(sounds["a.wav"]))
    source = probe(clip_file("four.mkv", Clip(num_frames=3, audio=(ClipAudio(tone(1.0, channels=4), codec="flac"),))))
    for keeps in (False, True):
        settings = EncodeSettings(keep_original_audio=keeps)
        rehearse_output(Path("a.webm"), settings, source, dub, RATE, starts_at_zero=True)
        assert ("is written as 5.1" in caplog.text) == keeps


@pytest.mark.parametrize("suffix", CONTAINERS)
def test_it_is_quick_and_writes_nothing(tmp_path: Path, clip_file: MakeClip, sounds: dict[str, Path], suffix: str):
    dub = require_audio(sounds["a.wav"], probe_audio(sounds["a.wav"]))
    source = probe(clip_file("a.mp4", Clip(num_frames=3)))
    began_s = time.process_time()
    rehearse_output(
        tmp_path / f"a{suffix}", EncodeSettings(), source, dub, RATE, starts_at_zero=True, size=(1920, 1080)
    )
    assert time.process_time() - began_s < 0.3
    assert list(tmp_path.iterdir()) == []
