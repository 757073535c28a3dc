"""One track, two people: each hears only their own turns, cut to real speech, without clicks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import synthetic
from test_voices import Notes

import infinitetalk_cli
from infinitetalk_cli.errors import InputError
from infinitetalk_cli.models.diarization import Turn, speech_by_person
from infinitetalk_cli.models.spans import Span
from infinitetalk_cli.stages.diarization import FADE_SAMPLES, DiarizationSettings, separate_voices
from infinitetalk_cli.stages.speech_tracks import open_samples, read_tracks
from infinitetalk_cli.stages.stage import StageContext

RATE_HZ = 16_000


@dataclass(frozen=True)
class TurnsAsGiven:
    """A diarizer that knows the answer."""

    answer: tuple[Turn, ...]

    def diarizer(self) -> TurnsAsGiven:
        return self

    def turns(self, samples: np.ndarray, progress: object) -> list[Turn]:
        assert samples.ndim == 1 and samples.dtype == np.float32
        return list(self.answer)


def voice() -> np.ndarray:
    path = Path(infinitetalk_cli.__file__).parent / "samples" / "fr.wav"
    return synthetic.read_all_samples(path)[0][:, 0]


def separated(tmp_path: Path, samples: np.ndarray, *turns: Turn) -> tuple[list[np.ndarray], Notes]:
    track = synthetic.make_audio(tmp_path / "both.wav", samples[:, None], RATE_HZ, "pcm_f32le")
    notes = Notes()
    out = tmp_path / "out"
    out.mkdir()
    context = StageContext(notes, TurnsAsGiven(turns), check_inputs=lambda: None)
    separate_voices({"all_speech": track}, DiarizationSettings(), out, context)
    assert [path.name for path in out.iterdir()] == ["speech"]
    people = read_tracks(out / "speech").people
    assert all(person.start_sample == 0 and person.num_samples == len(samples) for person in people)
    return [np.array(open_samples(out / "speech" / person.file)) for person in people], notes


def test_turns_become_tracks_in_order_of_speaking(tmp_path: Path) -> None:
    pause = np.zeros(RATE_HZ, np.float32)
    samples = np.concatenate([pause, voice(), pause, voice(), pause])
    middle = RATE_HZ + len(voice()) + RATE_HZ // 2
    late, early = Turn("A", Span(middle, len(samples))), Turn("B", Span(0, middle))
    (first, second), notes = separated(tmp_path, samples, late, early)
    inside = slice(int(1.5 * RATE_HZ), len(voice()))
    np.testing.assert_array_equal(first[inside], samples[inside])
    assert not first[middle + FADE_SAMPLES :].any() and not second[: middle - FADE_SAMPLES].any()
    np.testing.assert_array_equal(second[middle + RATE_HZ : -2 * RATE_HZ], samples[middle + RATE_HZ : -2 * RATE_HZ])
    assert not first[: RATE_HZ // 2].any(), "the turn began with silence; noise there must not move a mouth"
    assert any("both at once 0%" in note for note in notes.texts)


def test_where_both_speak_both_have_the_sound(tmp_path: Path) -> None:
    samples = voice()
    half = len(samples) // 2
    turns = Turn("A", Span(0, half + 8000)), Turn("B", Span(half - 8000, len(samples)))
    (first, second), _ = separated(tmp_path, samples, *turns)
    np.testing.assert_array_equal(first[half - 7000 : half + 7000], samples[half - 7000 : half + 7000])
    np.testing.assert_array_equal(second[half - 7000 : half + 7000], samples[half - 7000 : half + 7000])


def test_a_cut_through_speech_fades(tmp_path: Path) -> None:
    samples = voice()
    loud = RATE_HZ + int(np.abs(samples[RATE_HZ : 4 * RATE_HZ]).argmax())
    (first, second), _ = separated(tmp_path, samples, Turn("A", Span(0, loud)), Turn("B", Span(loud, len(samples))))
    steepest = np.abs(np.diff(samples)).max()
    for track in (first, second):
        assert np.abs(np.diff(track)).max() <= steepest + 0.01
        assert np.abs(track[loud - FADE_SAMPLES // 2 : loud + FADE_SAMPLES // 2]).max() > 0


def test_one_voice_only_is_told(tmp_path: Path) -> None:
    (_, second), notes = separated(tmp_path, voice(), Turn("A", Span(0, len(voice()))))
    assert not second.any()
    assert any("only one voice was found" in note for note in notes.texts)


def test_no_speech_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"both\.wav: no speech"):
        separated(tmp_path, synthetic.tone(1.0, RATE_HZ)[:, 0], Turn("A", Span(0, RATE_HZ)))


def test_turns_without_speech_do_not_make_a_person() -> None:
    turns = [Turn("noise", Span(0, 100)), Turn("B", Span(100, 400)), Turn("A", Span(300, 900))]
    people = speech_by_person(turns, [Span(150, 350), Span(500, 1200)], 800)
    assert people == [[Span(150, 350)], [Span(300, 350), Span(500, 800)]]
