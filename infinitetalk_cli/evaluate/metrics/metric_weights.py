"""Weight files of the metrics: one table of what is known of them, where they are looked for, the check of the hash.

Every number a file yields is only as good as the file, so nothing is opened whose SHA-256 is not the one below. The
addresses are those that the publishers, or the tools that use the files, give in public; they hold no promise of ours
and nothing is fetched unless `infinitetalk models pull metrics` is run. A licence of None: not stated where we know of.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from infinitetalk_cli.errors import DependencyError
from infinitetalk_cli.evaluate.metrics.common import Missing

FOLDER = "metrics"
"""Where the files lie below the weights folder, if no other folder is named."""


@dataclass(frozen=True)
class MetricFile:
    """One file. `url` is its own address, or that of an archive that holds `member`."""

    name: str
    about: str
    size_bytes: int
    sha256: str
    url: str
    publisher: str
    licence: str | None
    member: str | None = None
    other_names: tuple[str, ...] = ()


_VGG = "https://www.robots.ox.ac.uk/~vgg/software/lipsync/data/"
_INSIGHTFACE = "https://github.com/deepinsight/insightface/releases/download/v0.7/"
_INSIGHTFACE_LICENCE = "non-commercial research only (code MIT)"
_VGG_LICENCE = "CC-BY, research use"

INCEPTION, I3D = "pt_inception-2015-12-05-6726825d.pth", "i3d_torchscript.pt"
SYNCNET, S3FD = "syncnet_v2.model", "sfd_face.pth"
DETECTOR, RESNET_50, RESNET_100 = "det_10g.onnx", "w600k_r50.onnx", "glintr100.onnx"

METRIC_FILES: dict[str, MetricFile] = {
    file.name: file
    for file in (
        MetricFile(
            name=INCEPTION,
            about="FID, KID: Inception v3 of TensorFlow's graph of 2015-12-05, as PyTorch tensors",
            size_bytes=95_628_359,
            sha256="6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
            url=f"https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/{INCEPTION}",
            publisher="pytorch-fid",
            licence=None,
            other_names=("weights-inception-2015-12-05-6726825d.pth",),  # torch-fidelity's name for the same bytes
        ),
        MetricFile(
            name=I3D,
            about="FVD: I3D trained on Kinetics-400, RGB, TorchScript",
            size_bytes=51_235_320,
            sha256="bec6519f66ea534e953026b4ae2c65553c17bf105611c746d904657e5860a5e2",
            url="https://www.dropbox.com/s/ge9e5ujwgetktms/i3d_torchscript.pt?dl=1",
            publisher="StyleGAN-V",
            licence=None,
        ),
        MetricFile(
            name=SYNCNET,
            about="Sync-C, Sync-D: SyncNet",
            size_bytes=54_573_114,
            sha256="961e8696f888fce4f3f3a6c3d5b3267cf5b343100b238e79b2659bff2c605442",
            url=f"{_VGG}{SYNCNET}",
            publisher="VGG, University of Oxford",
            licence=_VGG_LICENCE,
        ),
        MetricFile(
            name=S3FD,
            about="Sync-C, Sync-D: the face detector S3FD",
            size_bytes=89_844_381,
            sha256="d54a87c2b7543b64729c9a25eafd188da15fd3f6e02f0ecec76ae1b30d86c491",
            url=f"{_VGG}{S3FD}",
            publisher="VGG, University of Oxford",
            licence=_VGG_LICENCE,
        ),
        MetricFile(
            name=DETECTOR,
            about="CSIM: the face detector SCRFD-10G, of both packs",
            size_bytes=16_923_827,
            sha256="5838f7fe053675b1c7a08b633df49e7af5495cee0493c7dcf6697200b85b5b91",
            url=f"{_INSIGHTFACE}buffalo_l.zip",
            member=DETECTOR,
            publisher="InsightFace",
            licence=_INSIGHTFACE_LICENCE,
            other_names=("scrfd_10g_bnkps.onnx",),  # the antelopev2 pack's name for the same bytes
        ),
        MetricFile(
            name=RESNET_50,
            about="CSIM, preset buffalo_l: ArcFace ResNet-50",
            size_bytes=174_383_860,
            sha256="4c06341c33c2ca1f86781dab0e829f88ad5b64be9fba56e56bc9ebdefc619e43",
            url=f"{_INSIGHTFACE}buffalo_l.zip",
            member=RESNET_50,
            publisher="InsightFace",
            licence=_INSIGHTFACE_LICENCE,
        ),
        MetricFile(
            name=RESNET_100,
            about="CSIM, preset antelopev2: ArcFace ResNet-100",
            size_bytes=260_665_334,
            sha256="4ab1d6435d639628a6f3e5008dd4f929edf4c4124b1a7169e1048f9fef534cdf",
            url=f"{_INSIGHTFACE}antelopev2.zip",
            member=RESNET_100,
            publisher="InsightFace",
            licence=_INSIGHTFACE_LICENCE,
        ),
    )
}

WEIGHT_SETS: dict[str, tuple[str, ...]] = {
    "metrics": (INCEPTION, I3D, SYNCNET, S3FD, DETECTOR, RESNET_50),
    "metrics/fid": (INCEPTION,),
    "metrics/fvd": (I3D,),
    "metrics/sync": (SYNCNET, S3FD),
    "metrics/csim": (DETECTOR, RESNET_50),
    "metrics/csim-antelopev2": (DETECTOR, RESNET_100),
}
"""What `infinitetalk models pull NAME` gets. The antelopev2 pack is no default, so `metrics` leaves it out."""

_USUAL_SUBFOLDERS = ("", FOLDER, "buffalo_l", "antelopev2", "models/buffalo_l", "models/antelopev2", "auxiliary")
"""Below a folder that is searched: where the files' own tools keep them, too."""


def search_folders(metrics_dir: Path | None, weights_root: Path) -> tuple[Path, ...]:
    """Where the files are looked for, in order. The first is where a pull puts them."""
    if metrics_dir is not None:
        return (metrics_dir.absolute(), weights_root / FOLDER)
    return (weights_root / FOLDER, weights_root)


def find(name: str, folders: Sequence[Path]) -> Path | None:
    """The file `name`, or what it is called elsewhere, of the right size; its content is not read."""
    file = METRIC_FILES[name]
    for folder in folders:
        for subfolder in _USUAL_SUBFOLDERS:
            for each in (file.name, *file.other_names):
                place = folder / subfolder / each
                if _size_of(place) == file.size_bytes:
                    return place
    return None


def read_verified(name: str, folders: Sequence[Path]) -> bytes:
    """The content of the file `name`; what was checked is what is opened.

    Raises:
        DependencyError: it is missing, cannot be read, or is another file.
    """
    place = find(name, folders)
    if place is None:
        raise DependencyError(missing_sentence(name, (name,), folders))
    try:
        content = place.read_bytes()
    except OSError as exc:
        raise DependencyError(f"{place}: cannot be read ({exc.strerror or exc}); place the file anew") from exc
    check_content(place, hashlib.sha256(content).hexdigest(), METRIC_FILES[name])
    return content


def check_content(place: Path, sha256: str, file: MetricFile) -> None:
    """Make sure that a file with hash `sha256` is the one that `file` describes.

    Raises:
        DependencyError: it is not.
    """
    if sha256 != file.sha256:
        raise DependencyError(
            f"{place}: is not the published {file.name} (SHA-256 {sha256[:12]}…, expected {file.sha256[:12]}…) and is "
            f"not opened; delete it and run `infinitetalk models pull {smallest_set(file.name)}`"
        )


def missing_weights(metric: str, names: Sequence[str], folders: Sequence[Path]) -> Missing | None:
    """`Missing` if one of the files `names`, which `metric` needs, is not here."""
    absent = [name for name in names if find(name, folders) is None]
    return Missing("no weights", missing_sentence(metric, absent, folders)) if absent else None


def missing_sentence(what: str, absent: Sequence[str], folders: Sequence[Path]) -> str:
    """Which files are missing, and the line that gets them."""
    damaged = [place for name in absent if (place := _of_other_size(name, folders)) is not None]
    whole = [key for key, names in WEIGHT_SETS.items() if set(absent) <= set(names)]
    sets = min(whole, key=lambda key: len(WEIGHT_SETS[key])) if whole else " ".join(map(smallest_set, absent))
    beside = f" ({', '.join(map(str, damaged))}: of another size, unfinished or another file)" if damaged else ""
    return (
        f"{what}: weights are missing: {', '.join(absent)}{beside}; get them with `infinitetalk models pull {sets}`, "
        f"or place them in {folders[0]}"
    )


def smallest_set(name: str) -> str:
    """The shortest name that makes a pull bring the file `name`."""
    fitting = [key for key, names in WEIGHT_SETS.items() if name in names]
    return min(fitting, key=lambda key: len(WEIGHT_SETS[key]))


def _size_of(place: Path) -> int | None:
    try:
        return place.stat().st_size if place.is_file() else None
    except OSError:
        return None


def _of_other_size(name: str, folders: Sequence[Path]) -> Path | None:
    for folder in folders:
        for subfolder in _USUAL_SUBFOLDERS:
            if _size_of(folder / subfolder / name) is not None:
                return folder / subfolder / name
    return None
