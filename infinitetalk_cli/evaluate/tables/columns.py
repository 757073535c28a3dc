"""Every figure that a report may hold: what it is called, which way is better, and how it is written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Better = Literal["lower", "higher", "zero", "one", ""]


@dataclass(frozen=True)
class Column:
    """`key`: `metric.value`; `better` "zero" or "one": the nearer the better, "": neither; `is_headline`: in tables."""

    key: str
    title: str
    better: Better
    digits: int
    what: str
    is_headline: bool = False
    is_of_set: bool = False


COLUMNS = (
    Column("fid.fid", "FID", "lower", 2, "Frechet distance of Inception features, all frames", True, True),
    Column("fid.kid", "KID x1000", "lower", 2, "unbiased kernel distance of the same features", True, True),
    Column("fvd.fvd", "FVD", "lower", 2, "Frechet distance of I3D features", True, True),
    Column("fvd.kernel", "I3D MMD", "lower", 3, "unbiased kernel distance of the same features", False, True),
    Column("sync.confidence", "Sync-C", "higher", 2, "SyncNet confidence, best of 31 shifts", True),
    Column("sync.distance", "Sync-D", "lower", 2, "SyncNet distance at that shift", True),
    Column("sync.offset_frames", "offset", "zero", 1, "the shift SyncNet prefers, frames"),
    Column("sync.confidence_at_zero", "Sync-C at 0", "higher", 2, "SyncNet confidence without a shift"),
    Column("sync.distance_at_zero", "Sync-D at 0", "lower", 2, "SyncNet distance without a shift"),
    Column("csim.pair", "CSIM", "higher", 3, "ArcFace cosine with the source's frame at the time", True),
    Column("csim.ref", "CSIM first", "higher", 3, "ArcFace cosine with the source's first frame"),
    Column("csim.coverage", "faces", "higher", 2, "share of frames with a face on both sides"),
    Column("csim.pair_per_min", "CSIM per min", "zero", 3, "identity drift: slope per minute (Theil-Sen)"),
    Column("csim.pair_end", "CSIM end-start", "zero", 3, "identity drift: last 15 % less first 15 %"),
    Column("seams.color_z", "seam colour z", "zero", 1, "largest robust z of the colour's step at a new chunk", True),
    Column("seams.color_z_source", "(source)", "", 1, "the same of the source at these frames"),
    Column("seams.color_z_control", "(elsewhere)", "", 1, "the same where no chunk begins"),
    Column("seams.color_z_median", "median", "zero", 1, "median over seams"),
    Column("seams.color_seen", "share > 5", "lower", 2, "share of seams with |z| > 5"),
    Column("seams.residual_z", "seam residual z", "zero", 1, "of the picture after its motion is taken out", True),
    Column("seams.residual_z_source", "(source)", "", 1, "the same of the source at these frames"),
    Column("seams.residual_z_control", "(elsewhere)", "", 1, "the same where no chunk begins"),
    Column("seams.residual_z_median", "median", "zero", 1, "median over seams"),
    Column("seams.residual_seen", "share > 5", "lower", 2, "share of seams with |z| > 5"),
    Column("seams.momentum_z", "seam motion z", "zero", 1, "of the change of motion", True),
    Column("seams.momentum_z_source", "(source)", "", 1, "the same of the source at these frames"),
    Column("seams.momentum_z_control", "(elsewhere)", "", 1, "the same where no chunk begins"),
    Column("seams.momentum_z_median", "median", "zero", 1, "median over seams"),
    Column("seams.momentum_seen", "share > 5", "lower", 2, "share of seams with |z| > 5"),
    Column("drift.delta_e_mean", "Delta E", "lower", 2, "CIEDE2000 of the background against the source's", True),
    Column("drift.delta_e_per_min", "Delta E per min", "zero", 2, "its slope (Theil-Sen)", True),
    Column("drift.delta_e_end", "Delta E end-start", "zero", 2, "last 15 % less first 15 %"),
    Column("drift.lightness_per_min", "L per min", "zero", 2, "slope of the lightness against the source"),
    Column("drift.lightness_end", "L end-start", "zero", 2, "last 15 % less first 15 %"),
    Column("drift.chroma_per_min", "C per min", "zero", 2, "slope of the chroma against the source"),
    Column("drift.chroma_end", "C end-start", "zero", 2, "last 15 % less first 15 %"),
    Column("drift.sharpness_per_min", "sharpness per min", "zero", 2, "slope of the Laplacian's log variance", True),
    Column("drift.sharpness_end", "sharpness end-start", "zero", 2, "last 15 % less first 15 %"),
    Column("camera.ate_px", "camera ATE px", "lower", 2, "path of the picture's middle off the source's, RMS", True),
    Column("camera.ate_percent", "ATE %", "lower", 3, "the same in hundredths of the width"),
    Column("camera.error_px", "camera error px", "lower", 2, "of all points, around the mean, as dub's report has it"),
    Column("camera.rpe_px", "camera RPE px/s", "lower", 2, "the same over every second alone", True),
    Column("camera.roll_deg", "roll deg", "lower", 3, "mean error of the roll"),
    Column("camera.log_zoom", "log zoom", "lower", 4, "mean error of the zoom's logarithm"),
    Column("camera.agree", "agree", "", 2, "share of the background that agrees on the motion"),
    Column("camera.agree_source", "agree (source)", "", 2, "the same of the source"),
    Column("camera.energy_px", "px per frame", "", 2, "how far the camera moves"),
    Column("camera.energy_source_px", "px per frame (source)", "", 2, "how far the source's moves"),
    Column("camera.energy_ratio", "camera energy", "one", 2, "motion over the source's; 0 is a frozen camera", True),
    Column("background.psnr_db", "background PSNR", "higher", 1, "dB beside the person, aligned; 100 is equal", True),
    Column("background.ssim", "background SSIM", "higher", 3, "the same", True),
    Column("lag.lag_frames", "lag", "zero", 1, "frames by which the mouth is late (read from its darkness)", True),
    Column("lag.peak_r", "mouth r", "higher", 2, "correlation of mouth and loudness at that lag", True),
    Column("lag.r_at_zero", "mouth r at 0", "higher", 2, "the same without a lag"),
    Column("lag.percentile", "mouth r pct", "higher", 0, "percentile of it among shifted sounds", True),
    Column("copying.mouth_leakage", "mouth leakage", "zero", 2, "correlation of the mouth with the source's", True),
    Column("copying.pose_copying", "pose copying", "", 2, "correlation of the head's path with the source's", True),
    Column("rhythm.beat_score", "beat score", "", 2, "published beat alignment, not corrected"),
    Column("rhythm.beat_z", "beat z", "higher", 2, "deviations above chance", True),
    Column("rhythm.envelope_r", "envelope r", "higher", 2, "body speed and loudness, 0.5-4 Hz"),
    Column("rhythm.envelope_percentile", "envelope pct", "higher", 0, "percentile of it among shifted motions"),
    Column("rhythm.motion_amount", "motion", "one", 2, "body speed over the source's", True),
    Column("file.frames_off", "frames off", "zero", 0, "frames more than the source's", True),
    Column("file.sound_longer_s", "sound longer s", "zero", 3, "how much longer the sound is than the picture"),
    Column("file.sound_offset_s", "sound late s", "zero", 3, "how late the new sound is in the file", True),
    Column("file.sound_r", "sound r", "one", 3, "correlation with the sound that was given"),
)  # fmt: skip

BY_KEY = {column.key: column for column in COLUMNS}
NEARER = {"zero": "near 0", "one": "near 1"}
"""How tables say it."""
FREE_METRICS = ("file", "seams", "drift", "camera", "background", "lag", "copying", "rhythm")
NETWORK_METRICS = ("fid", "fvd", "sync", "csim")
METRICS = (*NETWORK_METRICS, *FREE_METRICS)


def goodness(column: Column, value: float) -> float:
    """The higher the better, for marking the best; 0 for all where nothing is better."""
    if column.better == "zero":
        return -abs(value)
    if column.better == "one":
        return -abs(value - 1)
    return {"lower": -value, "higher": value, "": 0.0}[column.better]


def written(column: Column, value: float | None) -> str:
    """A value as tables show it."""
    if value is None:
        return "-"
    text = f"{value:.{column.digits}f}"
    return text.removeprefix("-") if float(text) == 0 else text
