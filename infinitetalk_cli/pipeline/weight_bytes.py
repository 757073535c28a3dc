"""Bytes of a model's weights while it generates: on the device, and waiting in main memory."""

from __future__ import annotations

from infinitetalk_cli.config.profile import Profile
from infinitetalk_cli.pipeline.model_sizes import ControlSize, ModelSize, TransformerSize

NUMBER_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


def offload(profile: Profile, on_cpu: bool) -> str:
    """As the loader has it: weights that are used on the CPU do not wait there for anything."""
    return "none" if on_cpu else profile.memory.offload


def generating_weights(profile: Profile, size: ModelSize, on_cpu: bool) -> tuple[int, int]:
    """Of transformer, video codec and image encoder: what is on the device, and what waits."""
    compute, transformer = profile.compute, size.transformer
    block, outside = block_bytes(profile, transformer), outside_bytes(profile, transformer)
    others = size.codec.num_weights * NUMBER_BYTES[compute.vae_dtype if size.family != "nano" else "float32"]
    others += size.image_encoder_weights * NUMBER_BYTES["float32" if on_cpu else "float16"]
    where = offload(profile, on_cpu)
    if where == "none":
        return transformer.num_layers * block + outside + others, 0
    # One block computes; without quantization the next one is on its way (`offload.py`).
    on_device = min(transformer.num_layers, 1 if compute.quantization != "none" else 2) * block + outside
    resting = transformer.num_layers * _resting_bytes(profile, transformer) + outside
    return (on_device + others, resting) if where == "blocks" else (on_device, resting + others)


def control_weights(profile: Profile, control: ControlSize, on_cpu: bool) -> tuple[int, int]:
    """Of the camera branch: what is on the device, and what waits; where anything waits, its layers come one by one."""
    number = NUMBER_BYTES[profile.compute.dtype]
    total = control.float32_weights * 4 + control.other_weights * number
    return (total, 0) if offload(profile, on_cpu) == "none" else (control.largest_layer * number, total)


def block_bytes(profile: Profile, size: TransformerSize) -> int:
    """Weights of one block as they are kept on the device."""
    number = NUMBER_BYTES[profile.compute.dtype]
    if profile.compute.quantization == "none":
        return (size.block_matrix_weights + size.block_other_weights) * number
    scales = 4 * sum(rows for rows, _ in size.block_matrices)
    return size.block_matrix_weights + scales + size.block_other_weights * number


def outside_bytes(profile: Profile, size: TransformerSize) -> int:
    """Weights of the transformer outside its blocks."""
    return size.float32_weights * 4 + size.embedder_weights * NUMBER_BYTES[profile.compute.dtype]


def _resting_bytes(profile: Profile, size: TransformerSize) -> int:
    """Main memory for one block that waits there.

    Page-locked memory comes in powers of two, so that every tensor is rounded up; quantized weights are not locked.
    """
    if profile.compute.quantization != "none":
        return block_bytes(profile, size)
    number = NUMBER_BYTES[profile.compute.dtype]
    matrices = sum(_power_of_two(rows * columns * number) for rows, columns in size.block_matrices)
    return matrices + 2 * size.block_other_weights * number


def _power_of_two(count: int) -> int:
    return 1 << (count - 1).bit_length()
