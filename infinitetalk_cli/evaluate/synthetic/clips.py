"""Held-out clips and the truth that a dub of them is measured against.

Every clip gets the speech of the next one, so that copying the source scores nothing. Its own character rendered with
that speech's mouth, at the same motion, is the true dub: what a perfect one would look like.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from infinitetalk_cli.evaluate.synthetic.motion import Regions, regions_of, track_camera, true_camera
from infinitetalk_cli.evaluate.synthetic.settings import Situation
from infinitetalk_cli.evaluate.synthetic.tracking import Track
from infinitetalk_cli.models.geometry import pixels_from_frames
from infinitetalk_cli.train.codec_fit import mouth_map
from infinitetalk_cli.units import MODEL_RATE
from infinitetalk_cli.world.clip import Clip, make_clip, render
from infinitetalk_cli.world.dataset import HELD_OUT_FIRST_SEED, SAMPLES_PER_FRAME
from infinitetalk_cli.world.phonemes import MouthTrack
from infinitetalk_cli.world.speech import Utterance, random_speech
from infinitetalk_cli.world.voices import normalised

_FIRST_SEED = HELD_OUT_FIRST_SEED + 1000
LOOKS_PER_CHUNK = 8
"""Frames of a chunk in which head and camera are looked for."""


def clip_seed(index: int, num_clips: int) -> int:
    """The seed of clip `index`, which goes around: the last clip gets the speech of the first."""
    return _FIRST_SEED + index % num_clips


@dataclass(frozen=True)
class Case:
    """A source clip, the speech it is given, a third clip's mouth for control; `spans`: the frames of each chunk."""

    clip: Clip
    speech: Utterance
    third: MouthTrack
    spans: tuple[slice, ...]

    @staticmethod
    def make(index: int, num_clips: int, situation: Situation, side_px: int, spans: tuple[slice, ...]) -> Case:
        """Clip `index` of `num_clips` in `situation`."""
        count = spans[-1].stop
        own, other, third = (_speech(clip_seed(index + k, num_clips), count) for k in range(3))
        clip = make_clip(
            clip_seed(index, num_clips),
            own.mouth[:count],
            side_px,
            side_px,
            situation.head_motion,
            situation.camera,
            prosody=own.prosody.until(count),
        )
        return Case(clip, other, third.mouth[:count], spans)

    @property
    def num_frames(self) -> int:
        """Frames of the clip."""
        return self.spans[-1].stop

    @property
    def spoken(self) -> MouthTrack:
        """The mouth of the speech that the clip is given."""
        return self.speech.mouth[: self.num_frames]

    @cached_property
    def waveform(self) -> np.ndarray:
        """That speech, 16 kHz."""
        return normalised(self.speech.waveform)[: self.num_frames * SAMPLES_PER_FRAME]

    @cached_property
    def source(self) -> Tensor:
        """Pixels (3, t, h, w) of the source."""
        return pixels_from_frames(self.clip.frames_u8)[0]

    @cached_property
    def wanted_u8(self) -> np.ndarray:
        """Frames (t, h, w, 3) of the true dub."""
        size = self.clip.frames_u8.shape[1:3]
        return render(self.clip.character, self.spoken, self.clip.motion, *size).frames_u8

    @cached_property
    def wanted(self) -> Tensor:
        """Pixels (3, t, h, w) of the true dub."""
        return pixels_from_frames(self.wanted_u8)[0]

    @cached_property
    def mouth_bumps(self) -> Tensor:
        """(t, h, w) 1 in the middle of the mouth, falling off around it."""
        half = torch.tensor([self.clip.mouth_half_px])
        return mouth_map(torch.from_numpy(self.clip.mouth_px).float(), half, *self.clip.frames_u8.shape[1:3])

    @cached_property
    def looked_at(self) -> np.ndarray:
        """(k,) frames that are looked at closely, `LOOKS_PER_CHUNK` in each span, both its ends among them."""
        places = (np.linspace(span.start, span.stop - 1, LOOKS_PER_CHUNK).round().astype(int) for span in self.spans)
        return np.concatenate(list(places))

    @property
    def looks(self) -> list[slice]:
        """Which of the frames looked at belong to each chunk."""
        return [slice(k * LOOKS_PER_CHUNK, (k + 1) * LOOKS_PER_CHUNK) for k in range(len(self.spans))]

    @cached_property
    def looked_clip(self) -> Clip:
        """The truth about those frames."""
        return thinned(self.clip, self.looked_at)

    @cached_property
    def regions(self) -> Regions:
        """Head and background in the first frame, and what stands before them in the frames looked at."""
        return regions_of(self.looked_clip)

    @property
    def camera_moves(self) -> bool:
        """Whether there is a camera to follow."""
        return not self.clip.motion.camera.is_still

    def camera_of(self, pixels: Tensor) -> Track:
        """The camera of frames looked at (3, k, h, w); a camera that stands still in truth is not looked for."""
        if not self.camera_moves:
            return true_camera(self.looked_clip)
        return track_camera(pixels, self.looked_clip, self.regions)


def _speech(seed: int, num_frames: int) -> Utterance:
    return random_speech(seed, num_frames / MODEL_RATE, held_out=True)


def thinned(clip: Clip, frames: np.ndarray) -> Clip:
    """The truth about some frames (k,) of a clip, in order; the first has to be frame 0."""
    assert frames[0] == 0, "movement is counted from the first frame"
    by_frame = {name: getattr(clip, name)[frames] for name in ("frames_u8", "mouth_px", "head_pose", "camera", "hands")}
    # Tracks take an array of indices as well as a slice.
    return replace(clip, mouth=clip.mouth[frames], motion=clip.motion[torch.from_numpy(frames)], **by_frame)
