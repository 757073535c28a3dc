"""The paper's metrics with their real networks: FID, KID, FVD, Sync-C, Sync-D, CSIM; `docs/metrics.md` defines them.

Numbers, files and terminal live apart here too:
- plain functions of arrays: `frechet`, `mfcc`, `sync_score`, `face_tracks`;
- networks, written as published so that published files load: `inception`, `syncnet`, `s3fd`; `scrfd` and `arcface`
  feed the ONNX files of a face detector and of a face's embedding; the I3D network comes as TorchScript;
- measures, which bring the two together for one video: `fid`, `fvd`, `sync`, `csim`; `face_box` needs no weights;
- `metric_weights`: which files they need, where they are looked for, and that only the right ones are opened;
  `metric_download` gets them.

A measure is asked in three steps: `metric.available(folders)` says in a moment what is missing, `metric.load(folders)`
opens the networks, and what that gives measures. Frames are uint8 RGB (h, w, 3) at 25 fps and come one at a time; no
measure holds a video. Sound is mono, 16 kHz, int16.

Modules that need torch, onnxruntime or dlib import them where they use them, except for the networks themselves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from infinitetalk_cli.errors import ProfileError

if TYPE_CHECKING:
    from infinitetalk_cli.evaluate.metrics.common import Metric

METRIC_NAMES = ("fid", "fvd", "sync", "csim")
"""Metrics that need weights. `fid` also gives KID, `sync` Sync-C and Sync-D, `csim` the pair and the reference form."""


def metric(name: str, preset: str | None = None, **settings: Any) -> Metric:
    """The metric `name` with a preset (None: its default) and further settings of its class; opens no network.

    Raises:
        ProfileError: there is no such metric or preset.
    """
    from infinitetalk_cli.evaluate.metrics.csim import CsimMetric
    from infinitetalk_cli.evaluate.metrics.fid import FidMetric
    from infinitetalk_cli.evaluate.metrics.fvd import FvdMetric
    from infinitetalk_cli.evaluate.metrics.sync import SyncMetric

    classes: dict[str, Any] = dict(zip(METRIC_NAMES, (FidMetric, FvdMetric, SyncMetric, CsimMetric), strict=True))
    if name not in classes:
        raise ProfileError(f"{name}: no such metric; choose among {', '.join(METRIC_NAMES)}")
    if preset is None:
        return classes[name](**settings)
    if preset not in classes[name].presets:
        raise ProfileError(f"{name}: no preset '{preset}'; choose among {', '.join(classes[name].presets)}")
    return classes[name](preset=preset, **settings)
