import numpy as np
import pytest

from infinitetalk_cli.world.phonemes import MouthTrack
from infinitetalk_cli.world.prosody import loudness_of, phrases_of, pitch_of, prosody_of_mouth, read_prosody


def voice(hz, seconds):
    time_s = np.arange(int(16000 * seconds)) / 16000
    return sum(np.sin(2 * np.pi * hz * k * time_s) / k for k in range(1, 6)).astype(np.float32) * 0.1


def test_pitch_is_in_semitones_above_the_median():
    waveform = np.concatenate((voice(120, 2.0), voice(180, 1.0)))
    pitch = pitch_of(waveform, 75)
    assert pitch[5:45] == pytest.approx(0, abs=0.3)
    assert pitch[55:70] == pytest.approx(7.02, abs=0.4)
    assert not pitch_of(np.zeros(16000, np.float32), 25).any()


def test_silence_is_not_loud():
    waveform = np.concatenate((voice(120, 1.0), np.zeros(16000, np.float32)))
    loudness = loudness_of(waveform, 50)
    assert loudness[3:22].min() > 0.9
    assert loudness[28:].max() == 0


def test_short_gaps_do_not_end_a_phrase():
    phonemes = [(0.1, "p"), (0.2, "ˈa"), (0.4, ""), (0.45, "t"), (0.6, ""), (1.0, "o"), (1.2, "")]
    phrases = [(p.start_s, p.stop_s) for p in phrases_of(phonemes, 2.0)]
    assert phrases == [(0.1, 0.6), (1.0, 1.2)]


def test_accents_are_stressed_vowels_stronger_where_the_voice_is_loud():
    waveform = np.concatenate((voice(120, 1.0), 0.1 * voice(120, 1.0)))
    phonemes = [(0.0, "m"), (0.3, "ˈa"), (0.6, "ˌo"), (1.3, "ˈe"), (1.9, "")]
    prosody = read_prosody(waveform, phonemes, 50)
    assert [a.time_s for a in prosody.accents] == [0.3, 0.6, 1.3]
    first, secondary, quiet = (a.strength for a in prosody.accents)
    assert first > secondary
    assert first > quiet
    assert [a.time_s for a in prosody.until(20).accents] == [0.3, 0.6]


def test_a_mouth_alone_tells_of_its_accents():
    openness = np.clip(np.sin(np.arange(50) / 25 * 2 * np.pi * 2), 0, 1).astype(np.float32)
    prosody = prosody_of_mouth(MouthTrack.from_stacked(np.stack([openness] * 4, axis=1)))
    assert len(prosody.accents) == 4
    assert prosody.phrases
