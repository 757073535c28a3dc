"""One module per kind of golden; each turns a file into cases."""

from __future__ import annotations

from . import (
    audio_embedding,
    buckets_resize,
    clip_vision,
    color_match,
    dit,
    fid,
    lora,
    sampler,
    syncnet,
    t5_encoder,
    teacache,
    uni3c,
    vae,
)

KINDS = {
    "dit_single": dit.cases,
    "dit_two_people": dit.cases,
    "sampler": sampler.cases,
    "audio_embedding": audio_embedding.cases,
    "color_match": color_match.cases,
    "buckets_resize": buckets_resize.cases,
    "vae": vae.cases,
    "clip_vision": clip_vision.cases,
    "t5_encoder": t5_encoder.cases,
    "teacache": teacache.cases,
    "lora": lora.cases,
    "controlnet": uni3c.cases,
    "fid/inception": fid.inception_cases,
    "fid/frechet": fid.frechet_cases,
    "syncnet/mfcc": syncnet.mfcc_cases,
    "syncnet/offset": syncnet.offset_cases,
    "syncnet/network": syncnet.network_cases,
    "syncnet/s3fd": syncnet.s3fd_cases,
    "syncnet/tracking": syncnet.tracking_cases,
}
