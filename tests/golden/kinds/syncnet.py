"""`syncnet/*`: SyncNet and what surrounds it, from sound and faces to Sync-C and Sync-D."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from infinitetalk_cli.evaluate.metrics import face_tracks, s3fd, syncnet
from infinitetalk_cli.evaluate.metrics.mfcc import mfcc
from infinitetalk_cli.evaluate.metrics.sync_score import agreement
from infinitetalk_cli.units import SPEECH_RATE_HZ

from ..harness import Case, Comparison, Golden, GoldenError, check_settings
from .filled import fill

_EXACT_MFCC = 1e-8
_TOLERANCE = 1e-3
_BOX_TOLERANCE = 1e-3
"""Pixels: the boxes are recorded with three digits."""
_SMOOTH_TOLERANCE = 1e-3


def mfcc_cases(golden: Golden) -> list[Case]:
    """One case per waveform, and one for samples on the wrong scale."""
    found = golden.setting("cases")
    golden.check_tensors((rf"({'|'.join(case['name'] for case in found)})_(in|out|as_int16_out)",))
    return [Case(case["name"], partial(_mfcc, golden, case)) for case in found]


def offset_cases(golden: Golden) -> list[Case]:
    """One case per pair of embeddings."""
    found = golden.setting("cases")
    golden.check_tensors((rf"({'|'.join(case['name'] for case in found)})_(video|audio|mean_dist|framewise_conf)",))
    for case in found:
        known = ("name", "T", "D", "vshift", "offset", "min_dist", "conf")
        check_settings(f"{golden.path}: {case['name']}", case, known)
    return [Case(case["name"], partial(_offset, golden, case)) for case in found]


def network_cases(golden: Golden) -> list[Case]:
    """Both branches over a short clip, and the layers inside for the first window."""
    golden.check_tensors((r"frames_28|audio_int16|mfcc|(lip|aud)_embed|lip_feat_512_window0|mean_dist|framewise_conf",))
    return [Case("clip", partial(_network, golden))]


def s3fd_cases(golden: Golden) -> list[Case]:
    """The detector's maps, and what is made of known maps."""
    golden.check_tensors((r"image_24x32_rgb|loc|face_prob|priors|made_(loc|prob|after_first_nms|final_xyxy_score)",))
    return [Case("maps", partial(_detector, golden)), Case("boxes", partial(_made_boxes, golden))]


def tracking_cases(golden: Golden) -> list[Case]:
    """One case per made-up scene."""
    known = ("seed", "min_track", "max_gap", "min_face", "iou", "fields", "cases")
    check_settings(str(golden.path), golden.spec, known)
    return [Case(case["name"], partial(_tracks, golden, case)) for case in golden.setting("cases")]


def _mfcc(golden: Golden, case: dict[str, Any], comparison: Comparison) -> None:
    name = case["name"]
    samples = golden.tensor(f"{name}_in").numpy()
    comparison.equal("frames", len(mfcc(samples)), case["frames"])
    comparison.close("out", torch.from_numpy(mfcc(samples)), golden.tensor(f"{name}_out"), _EXACT_MFCC)
    scaled = f"{name}_as_int16_out"
    if scaled in golden.tensors:
        ours = mfcc((samples * 32768).astype(np.int16))
        comparison.close("as_int16_out", torch.from_numpy(ours), golden.tensors[scaled], _EXACT_MFCC)


def _offset(golden: Golden, case: dict[str, Any], comparison: Comparison) -> None:
    name = case["name"]
    picture, sound = (golden.tensor(f"{name}_{side}").numpy() for side in ("video", "audio"))
    comparison.equal("shape", list(picture.shape), [case["T"], case["D"]])
    found = agreement(picture, sound, max_shift=case["vshift"])
    comparison.equal("offset", found.offset_frames, case["offset"])
    _close_numbers(comparison, {"min_dist": found.distance, "conf": found.confidence}, case)
    comparison.close(
        "mean_dist", torch.from_numpy(found.mean_distances), golden.tensor(f"{name}_mean_dist"), _TOLERANCE
    )
    smooth = torch.from_numpy(found.frame_confidence)
    comparison.close("framewise_conf", smooth, golden.tensor(f"{name}_framewise_conf"), _TOLERANCE)


def _close_numbers(comparison: Comparison, ours: dict[str, float], recorded: dict[str, float]) -> None:
    for name, value in ours.items():
        theirs = torch.tensor([recorded[name]], dtype=torch.float64)
        comparison.close(name, torch.tensor([value], dtype=torch.float64), theirs, _TOLERANCE)


def _network(golden: Golden, comparison: Comparison) -> None:
    divisors = {"netcnnlip.0.weight": 64.0, "netcnnaud.0.weight": 8.0}
    network = fill(syncnet.SyncNet(), golden, divisors)
    small, samples = golden.tensor("frames_28").numpy(), golden.tensor("audio_int16").numpy()
    faces = small.repeat(8, axis=1).repeat(8, axis=2)[..., ::-1]  # ours are RGB
    count = syncnet.num_windows(len(faces), len(samples))
    comparison.equal("windows", count, golden.setting("windows"))
    coefficients = mfcc(samples)
    comparison.close("mfcc", torch.from_numpy(coefficients), golden.tensor("mfcc"), _EXACT_MFCC)
    layers = _layer_statistics(network)
    lips = syncnet.lip_embeddings(network, iter(faces), count)
    sound = syncnet.speech_embeddings(network, coefficients, count)
    comparison.close("lip_embed", torch.from_numpy(lips), golden.tensor("lip_embed"), _TOLERANCE)
    comparison.close("aud_embed", torch.from_numpy(sound), golden.tensor("aud_embed"), _TOLERANCE)
    _compare_layers(golden, layers, comparison)
    found, recorded = agreement(lips, sound), golden.setting("result")
    comparison.equal("offset", found.offset_frames, recorded["offset"])
    _close_numbers(comparison, {"min_dist": found.distance, "conf": found.confidence}, recorded)
    comparison.close("mean_dist", torch.from_numpy(found.mean_distances), golden.tensor("mean_dist"), _TOLERANCE)
    smooth = torch.from_numpy(found.frame_confidence)
    comparison.close("framewise_conf", smooth, golden.tensor("framewise_conf"), _TOLERANCE)


def _layer_statistics(network: syncnet.SyncNet) -> dict[str, Tensor]:
    """Filled when the network runs: what each layer gave for the first window it ever saw."""
    seen: dict[str, Tensor] = {}

    def remember(name: str) -> Any:
        def hook(_layer: Any, _inputs: Any, output: Tensor) -> None:  # what a hook returns would replace the output
            seen.setdefault(name, output[0].clone())

        return hook

    for name, layer in network.named_modules():
        if not list(layer.children()):
            layer.register_forward_hook(remember(name))
    return seen


def _compare_layers(golden: Golden, layers: dict[str, Tensor], comparison: Comparison) -> None:
    for name, recorded in golden.setting("activations_window0").items():
        if name not in layers:
            raise GoldenError(f"{golden.path}: we have no layer '{name}'")
        values = layers[name].double()
        comparison.equal(f"{name} shape", list(values.shape), recorded["shape"])
        ours = torch.stack((values.mean(), values.std(), values.abs().max()))
        theirs = torch.tensor([recorded[what] for what in ("mean", "std", "absmax")], dtype=torch.float64)
        comparison.close(name, ours, theirs, _TOLERANCE)
    feature = layers["netcnnlip.20"].flatten()[None]
    comparison.close("lip_feat_512_window0", feature, golden.tensor("lip_feat_512_window0"), _TOLERANCE)


@torch.no_grad()
def _detector(golden: Golden, comparison: Comparison) -> None:
    network = fill(s3fd.S3fd(), golden, {"vgg.0.weight": 64.0})
    picture = golden.tensor("image_24x32_rgb").repeat_interleave(4, dim=0).repeat_interleave(4, dim=1)
    offsets, probabilities, where = network(picture.movedim(-1, 0)[None].float())
    comparison.equal("priors", len(where), golden.setting("priors"))
    comparison.close("priors", where, golden.tensor("priors"), _TOLERANCE)
    comparison.close("loc", offsets[0], golden.tensor("loc"), _TOLERANCE)
    comparison.close("face_prob", probabilities[0], golden.tensor("face_prob"), _TOLERANCE)


def _made_boxes(golden: Golden, comparison: Comparison) -> None:
    maps = (golden.tensor(name) for name in ("made_loc", "made_prob", "priors"))
    boxes, scores = s3fd.candidates(*maps)
    comparison.equal("candidates", len(boxes), golden.setting("positive_after_first_nms"))
    recorded = golden.tensor("made_after_first_nms")
    both = torch.from_numpy(np.concatenate((scores[:, None], boxes), axis=1))
    comparison.close("made_after_first_nms", both, recorded, _TOLERANCE)
    size = golden.setting("source_size")
    boxes, scores = s3fd.faces_among(boxes, scores, (size["height"], size["width"]))
    comparison.equal("faces", len(boxes), golden.setting("final"))
    both = torch.from_numpy(np.concatenate((boxes, scores[:, None]), axis=1))
    comparison.close("made_final_xyxy_score", both, golden.tensor("made_final_xyxy_score"), _TOLERANCE)


def _tracks(golden: Golden, case: dict[str, Any], comparison: Comparison) -> None:
    faces = [np.array(boxes, dtype=np.float64).reshape(-1, 4) for boxes in case["detections"]]
    tracks = face_tracks.find_tracks(faces, golden.setting("min_track"), golden.setting("min_face"))
    comparison.equal("tracks", len(tracks), len(case["tracks"]))
    for track, recorded in zip(tracks, case["tracks"], strict=True):
        comparison.equal("span", [track.start, track.stop - 1], [recorded["first"], recorded["last"]])
        for name, ours, allowed in (
            ("bbox", track.boxes, _BOX_TOLERANCE),
            ("smooth", face_tracks.smoothed(track), _SMOOTH_TOLERANCE),
        ):
            theirs = torch.tensor(recorded[f"{name}_every_10"], dtype=torch.float64)
            comparison.close(name, torch.from_numpy(ours[::10].copy()), theirs, allowed)
        crops = [[c.padding, c.top, c.bottom, c.left, c.right] for c in face_tracks.crops(track)]
        comparison.equal("crops", crops[::10], recorded["crop_every_10"])
        comparison.equal("first crops", crops[:7], recorded["crop_first_7"])
        span = face_tracks.sound_span(track, SPEECH_RATE_HZ)
        seconds = [f"{sample / SPEECH_RATE_HZ:.3f}" for sample in (span.start, span.stop)]
        comparison.equal("sound", seconds, [recorded["audio_from"], recorded["audio_to"]])
