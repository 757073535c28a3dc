"""How much memory a model takes in each phase of a job: arithmetic on its sizes, before anything is loaded.

Weights, keys and values are exact. What a computation needs on its way is a number of bytes per token, or per pixel and
channel, found by running the networks on tensors without values and counting (`tests/unit/pipeline`); fused attention
is taken for granted. What libraries need for themselves (cuDNN's workspace, gaps between allocations) is in no number
here. How well the sums agree with real memory on a CPU: `docs/hardware.md`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from math import isclose, prod

from infinitetalk_cli.config.profile import Profile
from infinitetalk_cli.pipeline.model_sizes import ControlSize, ModelSize, TransformerSize
from infinitetalk_cli.pipeline.weight_bytes import NUMBER_BYTES, control_weights, generating_weights, offload

ATTENTION_BYTES = {"float32": 40, "bfloat16": 25}
"""Of a token and a channel, while a block's self attention makes its queries and keys."""
FEED_FORWARD_BYTES = {"float32": 24, "bfloat16": 12}
"""Of a token and a channel around the feed-forward layer, whose inner activations come on top, twice."""
STREAMS_PER_BRANCH = 3
"""Copies of all tokens that a block holds of every further branch of guidance: before, between and after."""
TOKEN_BYTES = 600
"""Of a token, whatever the width: the channels that go in."""

VAE_ENCODE_BYTES = {"float32": 147, "bfloat16": 78}
VAE_DECODE_BYTES = {"float32": 203, "bfloat16": 106}
"""Of a pixel and a channel of the VAE's first level: a group of frames on its way, and what is kept of the last one."""
CPU_VAE_SHARE = 1.5
"""The same on a CPU, whose convolutions keep copies in a layout of their own (measured)."""
TILE_PX, TILE_STRIDE_PX = 256, 192
"""Side of a tile and distance between tiles, as diffusers has them."""
NANO_CODEC_COPIES = 8
"""Copies of a chunk's float32 pixels while nano's codec works (measured)."""
COLOR_COPIES = 11
"""The same while colours are matched."""

SPEECH_BYTES = {"nano": 60_000_000, "infinitetalk": 660_000_000}
"""What the speech encoder needs for a block of 40 s with its margins (infinitetalk: wav2vec 2.0 base)."""
TEXT_BYTES = 450_000_000
"""What the text encoder needs for two prompts of 512 tokens."""

HOST_BYTES = {"nano": 450_000_000, "infinitetalk": 800_000_000}
"""The program itself with its libraries, on Linux with a CPU build of torch (measured)."""
CUDA_HOST_BYTES = 2_000_000_000
"""What CUDA's libraries take of main memory besides (an allowance, not measured)."""
READING_BYTES = 1 << 30
"""Most of a weight file that counts as ours while it is read to a GPU (`tensor_files.py`)."""


@dataclass(frozen=True)
class Picture:
    """What is generated at once: `num_frames` frames of a size, with the voices of so many people."""

    width: int
    height: int
    num_frames: int
    num_people: int = 1

    @property
    def area_px(self) -> int:
        """Pixels of a frame."""
        return self.width * self.height


@dataclass(frozen=True)
class Phase:
    """A part of a stage that holds its own networks: what it needs on the device, and in main memory."""

    stage: str
    name: str
    device_bytes: int
    host_bytes: int


@dataclass(frozen=True)
class Footprint:
    """Phases of a job, which do not overlap; on a CPU, device and main memory are the same and count once."""

    phases: tuple[Phase, ...]
    on_cpu: bool

    @property
    def device_bytes(self) -> int:
        """What the device needs at the peak; on a CPU everything."""
        return self.largest.device_bytes

    @property
    def host_bytes(self) -> int:
        """What main memory needs at its peak."""
        return max(phase.host_bytes for phase in self.phases)

    @property
    def largest(self) -> Phase:
        """The phase that needs most of the device."""
        return max(self.phases, key=lambda phase: phase.device_bytes)

    def shared_by(self, num_processes: int) -> Footprint:
        """What so many processes of one computer need, each with a GPU of its own: chunks are made by all of them."""
        phases = []
        for phase in self.phases:
            host = num_processes if phase.stage == "generate" else 1
            device = host if self.on_cpu else 1
            phases.append(replace(phase, device_bytes=device * phase.device_bytes, host_bytes=host * phase.host_bytes))
        return Footprint(tuple(phases), self.on_cpu)

    def of_stages(self, stages: Collection[str]) -> Footprint | None:
        """What these stages alone need; None if they need no networks."""
        phases = tuple(phase for phase in self.phases if phase.stage in stages)
        return Footprint(phases, self.on_cpu) if phases else None


def footprint(profile: Profile, size: ModelSize, picture: Picture, *, on_cpu: bool) -> Footprint:
    """What `profile` needs for `picture`; its quantization is settled."""
    counted = _Counted(profile, size, picture, on_cpu)
    phases = []
    for stage, name, device_bytes, waiting_bytes in counted.phases():
        host_bytes = HOST_BYTES[size.family]
        if on_cpu:
            device_bytes += host_bytes
            host_bytes = device_bytes
        else:
            host_bytes += CUDA_HOST_BYTES + READING_BYTES + waiting_bytes
        phases.append(Phase(stage, name, device_bytes, host_bytes))
    return Footprint(tuple(phases), on_cpu)


@dataclass(frozen=True)
class _Counted:
    """The sums of one profile."""

    profile: Profile
    size: ModelSize
    picture: Picture
    on_cpu: bool

    def phases(self) -> Iterator[tuple[str, str, int, int]]:
        """Stage, name, bytes on the device, and bytes of weights that wait in main memory."""
        hearing, speech = self.size.audio_encoder_weights * 4, SPEECH_BYTES[self.size.family]
        waits = offload(self.profile, self.on_cpu) == "all"
        yield "audio_embedding", "sound", speech if waits else hearing + speech, hearing if waits else 0
        kept, waiting = (0, hearing) if waits else (hearing, 0)
        text = self.size.text_encoder
        if text is not None:
            number = NUMBER_BYTES[self.profile.compute.dtype]
            reading, resting = (text.table_weights, text.num_weights) if waits else (text.num_weights, 0)
            yield "text_embedding", "text", kept + reading * number + TEXT_BYTES, waiting + resting * number
        resident, resting = generating_weights(self.profile, self.size, self.on_cpu)
        steering, steering_rests = (
            (0, 0) if self.control is None else control_weights(self.profile, self.control, self.on_cpu)
        )
        resident, resting = resident + steering, resting + steering_rests
        keys = self._keys_bytes()
        for name, bytes_on_the_way in (
            ("encode", self._encode_bytes()),
            ("denoise", keys + self._forward_bytes() + self._control_bytes()),
            ("decode", keys + max(self._decode_bytes(), self._color_bytes())),
        ):
            yield "generate", name, kept + resident + bytes_on_the_way, waiting + resting

    @property
    def control(self) -> ControlSize | None:
        """The camera branch, where the job steers by it."""
        return self.size.control if self.profile.steers_camera else None

    def _control_bytes(self) -> int:
        """What the camera branch holds beside the main model's blocks: one state, for it runs in step with them.

        With it its rotary codes and, through the chunk, what it makes of mask and camera (float32); these are counted
        always, because whether a render with a mask is given is no part of the profile.
        """
        control, number = self.control, NUMBER_BYTES[self.profile.compute.dtype]
        if control is None:
            return 0
        per_token = control.dim * number + 4 * control.dim // control.num_heads + 4 * control.conv_out_dim
        return self.num_tokens * per_token

    def _keys_bytes(self) -> int:
        """What is kept from step to step: rotary codes, and keys and values of text, image and sound in every block."""
        size, number = self.size.transformer, NUMBER_BYTES[self.profile.compute.dtype]
        with_text, with_sound = _guided(self.profile)
        latent_frames = _latent_frames(self.picture, size)
        sound = latent_frames * size.audio_tokens * (self.picture.num_people + with_sound)
        seen = 0 if size.text_dim is None else size.text_len * (1 + with_text)
        seen += 0 if size.image_dim is None else size.image_tokens
        keys = 2 * size.num_layers * size.dim * (sound + seen) * number
        tokens = (seen * size.dim + sound * size.audio_token_dim) * number  # from which the keys were made
        return keys + tokens + self.num_tokens * size.attention_head_dim * 4

    def _forward_bytes(self) -> int:
        """What the transformer needs on its way for one step."""
        compute, size = self.profile.compute, self.size.transformer
        number, branches = NUMBER_BYTES[compute.dtype], num_branches(self.profile)
        attention = ATTENTION_BYTES[compute.dtype] * size.dim
        feed_forward = FEED_FORWARD_BYTES[compute.dtype] * size.dim + 2 * number * size.ffn_dim
        per_token = max(attention, feed_forward)
        if compute.batch_guidance:
            per_token *= branches
        else:
            per_token += (branches - 1) * STREAMS_PER_BRANCH * number * size.dim
        if self.profile.sampling.step_cache is not None:
            per_token += branches * number * size.dim
        if compute.quantization != "none":
            # A matrix of weights is widened before it is multiplied, or what it is multiplied with narrowed.
            return self.num_tokens * (per_token + TOKEN_BYTES) + number * size.dim * size.ffn_dim
        return self.num_tokens * (per_token + TOKEN_BYTES)

    @property
    def num_tokens(self) -> int:
        """Tokens of the picture: all latent frames of a chunk."""
        return num_tokens(self.picture, self.size)

    def _encode_bytes(self) -> int:
        """What the codec needs to encode the chunk's pixels, and these."""
        dtype = self.profile.compute.vae_dtype
        converted = 0 if dtype == "float32" else self._pixels_bytes // 2
        followed = 0 if self.control is None else self._pixels_bytes  # what the camera branch looks at
        pixels = self._pixels_bytes + converted + followed
        return self._coding_bytes(VAE_ENCODE_BYTES, self.size.codec.base_dim) + pixels

    def _decode_bytes(self) -> int:
        """What the codec needs to decode the chunk, and its pixels; those of all tiles wait until they are joined."""
        number, sides = NUMBER_BYTES[self.profile.compute.vae_dtype], (self.picture.width, self.picture.height)
        decoded = self.picture.num_frames * self.picture.area_px * 3 * number
        if not self._is_tiled:
            return self._coding_bytes(VAE_DECODE_BYTES, self.size.codec.base_dim) + decoded
        overlap = prod(_tiled_px(side) / side for side in sides)
        return self._coding_bytes(VAE_DECODE_BYTES, self.size.codec.base_dim) + int(overlap * decoded)

    def _coding_bytes(self, per_pixel: dict[str, int], base_dim: int | None) -> int:
        """What the codec needs besides what goes in and out."""
        if base_dim is None:
            return NANO_CODEC_COPIES * self._pixels_bytes
        sides = (self.picture.width, self.picture.height)
        area_px = prod(min(side, TILE_PX) for side in sides) if self._is_tiled else self.picture.area_px
        coding = per_pixel[self.profile.compute.vae_dtype] * base_dim * area_px
        return int(CPU_VAE_SHARE * coding) if self.on_cpu else coding

    @property
    def _is_tiled(self) -> bool:
        larger = max(self.picture.width, self.picture.height) > TILE_PX
        return self.profile.compute.vae_tiling and larger and self.size.codec.base_dim is not None

    @property
    def _pixels_bytes(self) -> int:
        """A chunk's pixels in float32."""
        return self.picture.num_frames * self.picture.area_px * 3 * 4

    def _color_bytes(self) -> int:
        return (COLOR_COPIES if self.profile.post.color_match_strength else 1) * self._pixels_bytes


def num_tokens(picture: Picture, size: ModelSize) -> int:
    """Tokens of a chunk's picture."""
    frame, rows, columns = size.transformer.patch_size
    stride = size.codec.spatial_stride
    latent_frames = _latent_frames(picture, size.transformer)
    return (latent_frames // frame) * (picture.height // stride // rows) * (picture.width // stride // columns)


def num_branches(profile: Profile) -> int:
    """How often the transformer is evaluated in a step."""
    return 1 + sum(_guided(profile))


def _tiled_px(side_px: int) -> int:
    """Sum of the tiles' lengths along a side: they overlap, the last one ends with the picture."""
    return sum(min(TILE_PX, side_px - start) for start in range(0, side_px, TILE_STRIDE_PX))


def _guided(profile: Profile) -> tuple[bool, bool]:
    """Whether a step also computes a branch with the negative text, and one without sound."""
    sampling = profile.sampling
    by_text = profile.model.reads_text and not isclose(sampling.text_guidance_scale, 1)
    return by_text, not isclose(sampling.audio_guidance_scale, 1)


def _latent_frames(picture: Picture, size: TransformerSize) -> int:
    return 1 + (picture.num_frames - 1) // size.vae_temporal_stride
