"""`vae`: video to latents and back."""

from __future__ import annotations

from functools import lru_cache, partial
from typing import Any

import torch
from diffusers import AutoencoderKLWan

from infinitetalk_cli.models.vae import WanVideoCodec, vae_weights_from_published

from ..harness import Case, Comparison, Golden, GoldenError

_KNOWN = (
    r"w\..*",
    r"const\.latents_(mean|std)",
    r"in\.(video|latents)",
    r"out\.(latents_normalised|latents_first_frame_only|decoded_unclamped)",
)


def cases(golden: Golden) -> list[Case]:
    """Both directions."""
    golden.check_tensors(_KNOWN)
    codec = lru_cache(partial(_codec, golden))
    return [Case("encode", partial(_encode, golden, codec)), Case("decode", partial(_decode, golden, codec))]


def _codec(golden: Golden) -> WanVideoCodec:
    config = {key: golden.setting("config", key) for key in golden.setting("config") if key != "seed"}
    constants = {key: golden.tensor(f"const.{key}").tolist() for key in ("latents_mean", "latents_std")}
    vae = AutoencoderKLWan(**config, **constants)
    weights = dict(vae_weights_from_published(golden.tensors_under("w."), config["num_res_blocks"]))
    vae.load_state_dict(weights)
    return WanVideoCodec(vae)


def _encode(golden: Golden, codec: Any, comparison: Comparison) -> None:
    video, max_abs = golden.tensor("in.video")[None], golden.setting("tolerance", "encode_max_abs")
    names = [name for name in golden.tensors if name.startswith("out.latents")]
    if "out.latents_normalised" not in names:
        raise GoldenError(f"{golden.path}: tensor 'out.latents_normalised' is missing")
    for name in names:
        part = video[:, :, :1] if name == "out.latents_first_frame_only" else video
        comparison.close(name, codec().encode(part)[0], golden.tensors[name], max_abs)


def _decode(golden: Golden, codec: Any, comparison: Comparison) -> None:
    recorded = golden.tensor("out.decoded_unclamped")
    decoded = codec().decode(golden.tensor("in.latents")[None])[0]
    # Ours is clamped, as in the published wrapper.
    max_abs = golden.setting("tolerance", "decode_max_abs")
    comparison.close("out.decoded_unclamped", decoded, torch.clamp(recorded, -1, 1), max_abs)
