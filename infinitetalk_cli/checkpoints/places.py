"""Where the weights of one name lie: in the weights folder, at a path, or in the cache of huggingface_hub."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from infinitetalk_cli.checkpoints import layouts
from infinitetalk_cli.checkpoints.catalog import Entry, Kind, Publication, load_catalog
from infinitetalk_cli.checkpoints.files import NetworkFiles
from infinitetalk_cli.checkpoints.headers import Problem, problems_of
from infinitetalk_cli.checkpoints.pins import read_pins

Origin = Literal["weights folder", "path", "hub cache"]


@dataclass(frozen=True)
class Part:
    """What one name stands for on this machine: files of networks, and what is wrong with them.

    `place` is the folder or file; None: nothing is there. `name` is a catalogue entry or a path.
    """

    name: str
    kind: Kind
    place: Path | None
    origin: Origin | None
    networks: dict[str, NetworkFiles]
    problems: tuple[Problem, ...]

    @property
    def is_complete(self) -> bool:
        """Whether all files are there, and none is visibly damaged."""
        return self.place is not None and not self.problems

    @property
    def size_bytes(self) -> int:
        """What its files take on the disk."""
        files = {file for network in self.networks.values() for file in network.all_files}
        return sum(file.stat().st_size for file in files if file.is_file())


def find_part(name: str, kind: Kind, weights_root: Path) -> Part:
    """The files of the weights called `name`: the first complete place, else the first place there is."""
    first = None
    for place, origin in _places(name, weights_root):
        try:
            part = _part(name, kind, place, origin)
        except OSError as exc:  # a folder that we may not look into
            problem = Problem(Path(exc.filename or place), "damaged", exc.strerror or str(exc))
            part = Part(name, kind, place, origin, {}, (problem,))
        if part.is_complete:
            return part
        first = first or part
    return first or Part(name, kind, None, None, {}, ())


def hub_commit(publication: Publication, weights_root: Path) -> str | None:
    """The commit that counts: the catalogue's, else the one that the first pull noted; None before that."""
    pin = read_pins(weights_root).get(publication.repo)
    return publication.commit or (pin.commit if pin is not None else None)


def hub_snapshot(publication: Publication, weights_root: Path) -> Path | None:
    """The folder of the hub's cache that holds the pinned commit, else the branch main; None: neither is there.

    Asks no network. main is what other programs pulled: most often the same files, and content decides anyway.
    """
    from huggingface_hub import constants

    if not Path(constants.HF_HUB_CACHE, f"models--{publication.repo.replace('/', '--')}").is_dir():
        return None  # the import that follows takes longer than all the rest of looking
    from huggingface_hub import try_to_load_from_cache

    pinned = hub_commit(publication, weights_root)
    for revision in dict.fromkeys((pinned or "main", "main")):
        file = try_to_load_from_cache(publication.repo, publication.marker, revision=revision)
        if isinstance(file, str):
            return Path(file).parents[publication.marker.count("/")]
    return None


def _places(name: str, weights_root: Path) -> Iterator[tuple[Path, Origin]]:
    entry = load_catalog().get(name)
    if entry is None:
        given = Path(name).expanduser()
        for place in dict.fromkeys((weights_root / given, given.absolute())):
            if _is_there(place):
                yield place, "path"
        return
    for publication in entry.layouts.values():
        for place in _in_weights_folder(entry, publication, weights_root):
            if _is_there(place):
                yield place, "weights folder"
    for publication in entry.layouts.values():
        snapshot = hub_snapshot(publication, weights_root)
        if snapshot is not None:
            yield snapshot / _single_file(entry, publication), "hub cache"


def _is_there(place: Path) -> bool:
    try:
        return place.exists()
    except OSError:  # a name that no file can have, or a folder that we may not look into
        return False


def _in_weights_folder(entry: Entry, publication: Publication, weights_root: Path) -> Iterator[Path]:
    file, folder = _single_file(entry, publication), weights_root / publication.folder
    yield folder / file
    if entry.kind == "lora":  # people put these files anywhere
        yield folder / file.name
        yield weights_root / file.name


def _single_file(entry: Entry, publication: Publication) -> Path:
    """The one file of an entry that has just one; else the folder itself."""
    return Path(publication.marker) if entry.kind in ("audio_weights", "lora") else Path()


def _part(name: str, kind: Kind, place: Path, origin: Origin) -> Part:
    if kind == "base":
        found = layouts.base_files(place)
    elif kind == "audio_encoder":
        found = layouts.audio_encoder_files(place)
    elif kind == "uni3c":
        found = layouts.uni3c_files(place)
    elif kind == "diarization":
        found = layouts.Found({}, problems_of([place / "config.yaml"]))  # pyannote.audio knows its other files
    else:
        found = layouts.transformer_part(place / layouts.AUDIO_WEIGHTS_FILE if place.is_dir() else place)
    return Part(name, kind, place, origin, found.networks, found.problems)
