"""The clip and the voice that are shipped to try things on: `python -m infinitetalk_cli.world.make_sample DIR`.

A character and voices that training never met say something of our own; nobody's face or voice is used.
"""

from __future__ import annotations

import sys
import tempfile
import wave
from fractions import Fraction
from pathlib import Path

import numpy as np

from infinitetalk_cli.media.containers import EncodeSettings
from infinitetalk_cli.media.lossless import write_frames
from infinitetalk_cli.media.probe import probe
from infinitetalk_cli.media.writer import write_output
from infinitetalk_cli.units import MODEL_RATE, SPEECH_RATE_HZ
from infinitetalk_cli.world.clip import make_clip
from infinitetalk_cli.world.dataset import HELD_OUT_FIRST_SEED
from infinitetalk_cli.world.speech import Voice, say

CHARACTER_SEED = HELD_OUT_FIRST_SEED + 3011
SIDE_PX = 384
HEAD_MOTION = 0.05
ENGLISH = "Hello, and welcome! I am a small drawing that can talk. Give me another voice, and my mouth will follow it."
FRENCH = "Bonjour et bienvenue! Je suis un petit dessin, et maintenant, je parle aussi français avec vous."
ENGLISH_VOICE = Voice("en", "f3", rate=165, pitch=50, pitch_range=60)
FRENCH_VOICE = Voice("fr", "f5", rate=160, pitch=50, pitch_range=60)
_PEAK = 0.7


def write_wav(path: Path, waveform: np.ndarray) -> None:
    """`waveform` (float32 mono, 16 kHz), scaled to a fixed peak, as 16-bit PCM."""
    samples = np.round(waveform / np.abs(waveform).max() * _PEAK * 32767).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SPEECH_RATE_HZ)
        file.writeframes(samples.tobytes())


def write_samples(folder: Path) -> list[Path]:
    """Write in.mp4 (the character speaking English) and fr.wav (French speech) into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    english, french = say(ENGLISH, ENGLISH_VOICE), say(FRENCH, FRENCH_VOICE)
    clip = make_clip(CHARACTER_SEED, english.mouth, SIDE_PX, SIDE_PX, HEAD_MOTION)
    num_frames = len(clip.frames_u8)
    with tempfile.TemporaryDirectory() as scratch:
        picture, sound = Path(scratch) / "picture.mkv", Path(scratch) / "sound.wav"
        write_frames(picture, clip.frames_u8, MODEL_RATE)
        write_wav(sound, english.waveform)
        write_output(
            folder / "in.mp4",
            clip.frames_u8,
            num_frames,
            MODEL_RATE,
            source=picture,
            source_info=probe(picture),
            dub_audio=sound,
            audio_stop_s=Fraction(num_frames) / MODEL_RATE,
            settings=EncodeSettings(quality=20),
        )
    write_wav(folder / "fr.wav", french.waveform)
    return [folder / "in.mp4", folder / "fr.wav"]


if __name__ == "__main__":
    for written in write_samples(Path(sys.argv[1])):
        sys.stdout.write(f"{written}: {written.stat().st_size} bytes\n")
