import numpy as np
import pytest

pytest.importorskip("espeakng_loader", reason="speech synthesis needs the extra infinitetalk[train]")

from infinitetalk_cli.world.phrases import TRAINING_LANGUAGES, WORDS, vocabulary
from infinitetalk_cli.world.speech import Voice, random_speech, say
from infinitetalk_cli.world.voices import normalised, recorded, stretched


def test_speech_and_mouth_cover_the_same_time():
    speech = random_speech(3, 2.0, held_out=False)
    assert len(speech.waveform) >= 2 * 16000
    assert len(speech.mouth) == -(-len(speech.waveform) // 640)
    again = random_speech(3, 2.0, held_out=False)
    np.testing.assert_array_equal(speech.waveform, again.waveform)


def test_the_mouth_is_open_where_the_vowel_is_loud():
    speech = say("papa", Voice("it", "f2"))
    frames = speech.waveform[: len(speech.waveform) // 640 * 640].reshape(-1, 640)
    loud = np.sqrt((frames**2).mean(axis=1))
    assert np.corrcoef(loud, speech.mouth.openness[: len(loud)])[0, 1] > 0.5


def test_no_held_out_word_is_heard_in_training():
    for language in TRAINING_LANGUAGES:
        assert not set(vocabulary(language, True)) & set(vocabulary(language, False))
        assert set(vocabulary(language, True)) | set(vocabulary(language, False)) == set(WORDS[language])


def test_recordings_keep_their_length_and_loudness():
    rng = np.random.default_rng(0)
    speech = random_speech(4, 2.0, held_out=True)
    heard = recorded(rng, speech.waveform, noisy_share=1.0)
    assert heard.shape == speech.waveform.shape
    assert 0.5 < heard.std() / normalised(speech.waveform).std() < 2.0


def test_slow_speech_has_more_frames():
    speech = random_speech(5, 2.0, held_out=False)
    waveform, mouth = stretched(speech.waveform, speech.mouth.stacked(), 1.2)
    assert len(waveform) == pytest.approx(1.2 * len(speech.waveform), abs=2)
    assert len(mouth) == int(1.2 * len(speech.mouth))
