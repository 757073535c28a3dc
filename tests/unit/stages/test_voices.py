"""Two voices on one time line: what is heard, what each person says, and the rows the model reads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import synthetic
import torch

from infinitetalk_cli.config.job import ClipSettings, Length
from infinitetalk_cli.config.people import Turns
from infinitetalk_cli.config.profile import AudioProfile, ChunkProfile
from infinitetalk_cli.media.timeline import SourceTimeline
from infinitetalk_cli.progress import SilentProgress
from infinitetalk_cli.stages.audio_embedding import AudioEmbeddingSettings, DubTrack, embed_audio, read_track
from infinitetalk_cli.stages.speech_tracks import open_samples, read_tracks
from infinitetalk_cli.stages.stage import StageContext
from infinitetalk_cli.stages.voices import VoicesSettings, combine_voices

RATE_HZ = 16_000


class Notes(SilentProgress):
    """Keeps what the user would read."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def note(self, text: str) -> None:
        self.texts.append(text)


class MeanEncoder:
    """Rows of one number: the loudest sample of the frame."""

    num_layers, channels = 1, 1

    def encode(self, waveform: np.ndarray, num_frames: int) -> Iterator[torch.Tensor]:
        assert len(waveform) == num_frames * 640
        peaks = np.abs(np.asarray(waveform)).reshape(num_frames, 640).max(axis=1)
        yield torch.from_numpy(peaks)[:, None, None]


class EncoderOnly:
    def audio_encoder(self) -> MeanEncoder:
        return MeanEncoder()


@dataclass
class Bench:
    """A folder with two voices, and the stages run on it."""

    folder: Path
    notes: Notes = field(default_factory=Notes)

    @property
    def context(self) -> StageContext:
        return StageContext(self.notes, EncoderOnly(), check_inputs=lambda: None)

    def combine(self, first: Path, second: Path, turns: Turns = Turns.PARALLEL, **speech: Path) -> dict[str, Path]:
        out = self.folder / turns
        out.mkdir(exist_ok=True)
        inputs = {"voice_1": first, "voice_2": second, "speech_1": first, "speech_2": second} | speech
        combine_voices(inputs, VoicesSettings(turns=turns), out, self.context)
        return {"dub_audio": out / "heard.flac", "speech": out / "speech"}

    def embed(self, artefacts: dict[str, Path], **clip: object) -> tuple[np.ndarray, DubTrack]:
        timeline = SourceTimeline(np.arange(50, dtype=np.int64), 50, Fraction(1, 25), np.ones(50, bool))
        timeline.save(self.folder / "timeline.npz")
        inputs = {"source_video": self.folder / "v.mp4", "timeline": self.folder / "timeline.npz", **artefacts}
        settings = AudioEmbeddingSettings(
            audio=AudioProfile(loudness_lufs=None),
            chunks=ChunkProfile(num_frames=17, context_frames=5),
            clip=ClipSettings(**clip),
        )
        out = self.folder / "embedded"
        out.mkdir(exist_ok=True)
        embed_audio(inputs, settings, out, self.context)
        assert sorted(path.name for path in out.iterdir()) == ["embeddings.npy", "levels.npy", "track.json"]
        return np.load(out / "embeddings.npy")[..., 0, 0], read_track(out / "track.json")


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def tone_file(path: Path, seconds: float, level: float = 0.4, rate_hz: int = 48_000) -> Path:
    return synthetic.make_audio(path, 2 * level * synthetic.tone(seconds, rate_hz), rate_hz)


@pytest.fixture
def short(tmp_path: Path) -> Path:
    return tone_file(tmp_path / "short.wav", 0.6, level=0.25)


@pytest.fixture
def long(tmp_path: Path) -> Path:
    return tone_file(tmp_path / "long.wav", 1.4, level=0.4, rate_hz=44_100)


@pytest.mark.parametrize("is_swapped", [False, True])
def test_the_longest_voice_decides_and_the_other_is_silent_after_its_end(
    is_swapped: bool, bench: Bench, short: Path, long: Path
) -> None:
    files = (long, short) if is_swapped else (short, long)
    rows, track = bench.embed(bench.combine(*files))
    assert track.duration_s == Fraction(14, 10) and track.num_frames == 35
    assert rows.shape == (2, 51), "up to the end of the last chunk, wherever it begins"
    brief, lasting = rows[::-1] if is_swapped else rows
    assert brief[:15] == pytest.approx(0.25, abs=0.03) and not brief[16:].any()
    assert lasting[:35] == pytest.approx(0.4, abs=0.03) and not lasting[36:].any()


def test_in_turn_the_second_begins_where_the_first_ends(bench: Bench, short: Path, long: Path) -> None:
    rows, track = bench.embed(bench.combine(short, long, Turns.SEQUENCE))
    assert track.duration_s == 2 and track.num_frames == 50
    assert (rows[0, :15] > 0.2).all() and not rows[0, 16:].any()
    assert not rows[1, :14].any() and (rows[1, 15:50] > 0.3).all()


def test_a_stretch_takes_each_voice_from_its_own_time(bench: Bench, short: Path, long: Path) -> None:
    artefacts = bench.combine(short, long, Turns.SEQUENCE)
    rows, track = bench.embed(artefacts, start_s=Fraction(2, 5), end_s=Fraction(4, 5))
    assert track.num_frames == 10
    assert (rows[0, :5] > 0.2).all() and not rows[0, 6:].any()
    assert not rows[1, :4].any() and (rows[1, 5:10] > 0.3).all()
    assert not rows[1, 11:].any(), "past --end there is silence, though the voice goes on"


@pytest.mark.parametrize(("length", "frames"), [(Length.AUDIO, 35), (Length.VIDEO, 50), (Length.SHORTEST, 35)])
def test_length_rules_know_the_mix(length: Length, frames: int, bench: Bench, short: Path, long: Path) -> None:
    _, track = bench.embed(bench.combine(long, short), length=length)
    assert track.num_frames == frames


def test_a_clean_voice_drives_and_ends_with_its_turn(bench: Bench, short: Path, long: Path, tmp_path: Path) -> None:
    clean = tone_file(tmp_path / "clean.wav", 1.0, level=0.1)
    artefacts = bench.combine(short, long, Turns.SEQUENCE, speech_1=clean)
    first, second = read_tracks(artefacts["speech"]).people
    assert (first.start_sample, first.num_samples) == (0, 9600), "person 2 begins at 0.6 s"
    assert (second.start_sample, second.num_samples) == (9600, 22_400)
    rows, _ = bench.embed(artefacts)
    assert rows[0, :15] == pytest.approx(0.1, abs=0.02) and not rows[0, 15:].any()


def test_loudness_is_set_for_each_person(bench: Bench, tmp_path: Path) -> None:
    files = [tone_file(tmp_path / f"{level}.wav", 1.0, level) for level in (0.4, 0.04)]
    artefacts = bench.combine(*files)
    settings = AudioEmbeddingSettings(audio=AudioProfile(), chunks=ChunkProfile(), clip=ClipSettings())
    out = tmp_path / "levelled"
    out.mkdir()
    embed_audio({"source_video": out, "timeline": out, **artefacts}, settings, out, bench.context)
    first, second = np.load(out / "embeddings.npy")[:, :25, 0, 0]
    np.testing.assert_allclose(first, second, rtol=0.02)
    loud, quiet = read_track(out / "track.json").loudness_lufs
    assert loud - quiet == pytest.approx(20, abs=0.1)


def test_one_silent_person_stays_silent(bench: Bench, long: Path, tmp_path: Path) -> None:
    nothing = synthetic.make_audio(tmp_path / "nothing.wav", synthetic.silence(0.3))
    artefacts = bench.combine(long, nothing)
    assert any(note.startswith("nothing.wav: hardly any speech") and "person 2" in note for note in bench.notes.texts)
    rows, track = bench.embed(artefacts)
    assert not rows[1].any() and track.loudness_lufs[1] is None and track.loudness_lufs[0] is not None
    assert [note for note in bench.notes.texts if "silent" in note] == [
        "person 2: the voice is silent; the mouth will stay closed"
    ]


def test_how_much_each_person_speaks_is_told(bench: Bench, tmp_path: Path) -> None:
    import infinitetalk_cli

    voice = Path(infinitetalk_cli.__file__).parent / "samples" / "fr.wav"
    bench.combine(voice, voice, Turns.SEQUENCE)
    (note,) = (note for note in bench.notes.texts if "of the time" in note)
    assert note == "person 1 speaks 50% of the time, person 2 50%, both at once 0%"


def test_one_voice_is_what_it_was(bench: Bench, long: Path) -> None:
    rows, track = bench.embed({"dub_audio": long, "speech": long})
    assert rows.shape == (51,) and isinstance(track.loudness_lufs, float)
    two, _ = bench.embed(bench.combine(long, long))
    np.testing.assert_array_equal(two, [rows, rows])


def test_tracks_are_kept_as_they_are(bench: Bench, tmp_path: Path) -> None:
    voices = [0.4 * synthetic.speech(seconds, RATE_HZ, seed=seed) for seed, seconds in ((1, 0.5), (2, 0.8))]
    files = [synthetic.make_audio(tmp_path / f"{n}.wav", voice, RATE_HZ, "pcm_f32le") for n, voice in enumerate(voices)]
    artefacts = bench.combine(*files)
    for track, voice in zip(read_tracks(artefacts["speech"]).people, voices, strict=True):
        np.testing.assert_array_equal(open_samples(artefacts["speech"] / track.file), voice[:, 0])
