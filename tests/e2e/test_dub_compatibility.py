"""The named compatibility settings: what the published code does, on request."""

from __future__ import annotations

from pathlib import Path

import synthetic
from synthetic import Clip

from infinitetalk_cli.media.probe import probe

PUBLISHED = """
extends: nano
geometry: {fit: bucket-480}
audio: {frame_count: floor}
chunks: {num_frames: 17, context_frames: 5, tail: mirror, reference_refresh: chunk}
sampling: {num_steps: 1, audio_guidance_scale: 1.0}
post: {color_match_strength: 1.0, color_match_reference: first_frame}
quality: {max_attempts: 1}
"""


def test_published_size_length_and_tail(tmp_path: Path, run_command) -> None:
    source = synthetic.make_clip(tmp_path / "source.mp4", Clip(num_frames=30, size=(192, 112)))
    voice = synthetic.make_audio(tmp_path / "voice.wav", synthetic.speech(29 / 25, 16_000), 16_000)
    profile = tmp_path / "published.yaml"
    profile.write_text(PUBLISHED)
    outcome = run_command("dub", source, "--audio", voice, "--profile", profile, "--json")
    assert outcome.exit_code == 0, outcome.stderr
    result = Path(outcome.document["output"])
    assert probe(result).video.upright_size == (896, 448), "the published bucket next to 112 / 192"
    assert outcome.document["model_frames"] == 28, "29 frames lose one to the published rounding"
