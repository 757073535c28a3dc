"""Whether weights on this machine are what they should be: files, names and shapes of tensors, hashes if asked for."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from infinitetalk_cli.cache.files import sha256_of
from infinitetalk_cli.checkpoints.catalog import load_catalog
from infinitetalk_cli.checkpoints.files import AUDIO_ENCODER, TEXT_ENCODER, TRANSFORMER, LoraWeights, NetworkFiles
from infinitetalk_cli.checkpoints.pins import read_pins
from infinitetalk_cli.checkpoints.places import Part
from infinitetalk_cli.checkpoints.tables import (
    Shapes,
    is_published_size,
    sizes_of_config,
    sizes_of_tensors,
    transformer_table,
)
from infinitetalk_cli.checkpoints.verify import TensorReport, compare
from infinitetalk_cli.errors import DependencyError
from infinitetalk_cli.progress import Progress


@dataclass(frozen=True)
class PartReport:
    """What was found about the weights of one name."""

    part: Part
    networks: tuple[TensorReport, ...]
    problems: tuple[str, ...] = ()
    num_hashes: int | None = None

    @property
    def is_good(self) -> bool:
        """Whether everything is as it should be."""
        return not self.problems and all(report.is_good for report in self.networks)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for `--json`."""
        return {
            "name": self.part.name,
            "good": self.is_good,
            "place": None if self.part.place is None else str(self.part.place),
            "problems": list(self.problems),
            "hashes_checked": self.num_hashes,
            "networks": [report.as_dict() for report in self.networks],
        }


def verify_parts(
    parts: Sequence[Part], weights_root: Path, progress: Progress, with_hashes: bool = False
) -> list[PartReport]:
    """Check the parts of one model, or single ones; nothing is loaded.

    The transformer is compared with the table of the published one, the other networks with their classes on the meta
    device. Parts of another size than the published are measured by their own config.json.
    """
    base = next((part for part in parts if part.kind == "base"), None)
    sizes = _base_sizes(base)
    reports = []
    for part in parts:
        problems = [problem.within(_folder(part)) for problem in part.problems]
        if part.place is None:
            problems.append("not here")
        checked = {problem.path for problem in part.problems}
        networks = tuple(
            _reported(name, lambda: _network_report(part, name, network, sizes))  # noqa: B023 (called at once)
            for name, network in part.networks.items()
            if not checked & set(network.weights) and network.config not in checked
        )
        report = PartReport(part, networks, tuple(problems))
        reports.append(_with_hashes(report, weights_root, progress) if with_hashes else report)
    return reports


def _network_report(part: Part, name: str, network: NetworkFiles, sizes: Mapping[str, int]) -> TensorReport:
    if part.kind == "base" and name == TRANSFORMER:
        return _base_report(network)
    if part.kind == "audio_weights":
        return _audio_report(network, sizes)
    if part.kind == "lora":
        return _lora_report(network, sizes)
    from infinitetalk_cli.models.expected import needed_and_found

    if name == TEXT_ENCODER:
        _check_tokenizer(network)
    is_published = name != AUDIO_ENCODER and is_published_size(sizes)
    return compare(name, *needed_and_found(name, network, is_published))


def _check_tokenizer(network: NetworkFiles) -> None:
    from infinitetalk_cli.models.text_encoder import load_tokenizer

    assert network.tokenizer is not None, "a text encoder has a tokenizer"
    load_tokenizer(network.tokenizer)


def _base_report(network: NetworkFiles) -> TensorReport:
    """The plain video model in either layout, named as in its files."""
    from infinitetalk_cli.models.keys import key_from_published

    stated, found, table = sizes_of_config(_settings(network)), _found(network), transformer_table()
    if is_published_size(stated):
        sizes, notes = table.published, ()
        problems = tuple(
            f"{network.config}: {size} is {value}, the published model has {sizes[size]}"
            for size, value in stated.items()
            if sizes[size] != value
        )
    else:
        sizes, problems = _shown_sizes(found) | stated, ()
        if not stated["heads"] or stated["dim"] % stated["heads"]:
            problems = (f"{network.config}: {stated['dim']} channels do not divide into {stated['heads']} heads",)
        notes = (f"not the published size: measured by its own config.json (dim {stated['dim']})",)
    needed = table.base_shapes({**table.published, **sizes})
    if network.layout == "diffusers":
        needed = {key_from_published(name): shape for name, shape in needed.items()}
    return replace(compare(TRANSFORMER, needed, found), problems=problems, notes=notes)


def _audio_report(network: NetworkFiles, base_sizes: Mapping[str, int]) -> TensorReport:
    """Audio weights; base tensors may be among them, and then replace those of the base."""
    found, table = _found(network), transformer_table()
    own = sizes_of_tensors(found)
    sizes = table.published if is_published_size(base_sizes or own) else own | dict(base_sizes)
    unknown = {name for name in ("dim", "layers", "audio_hidden", "audio_first") if name not in sizes}
    if unknown:
        return TensorReport(TRANSFORMER, len(found), problems=("these are no audio weights of this model",))
    base = table.base_shapes({**table.published, **sizes})
    report = compare("audio parts of the transformer", table.audio_shapes(sizes), found, optional=base)
    replaced = sum(name in base for name in found)
    return replace(report, notes=(f"{replaced} tensors replace those of the base",) if replaced else ())


def _lora_report(network: NetworkFiles, base_sizes: Mapping[str, int]) -> TensorReport:
    """Changes must fit the transformer they are merged into."""
    import torch

    from infinitetalk_cli.models.keys import our_key
    from infinitetalk_cli.models.lora import LoraChanges

    table = transformer_table()
    sizes = {**table.published, **base_sizes}
    shapes = table.base_shapes(sizes) | table.audio_shapes(sizes)
    layout = {our_key(name): torch.empty(shape, device="meta") for name, shape in shapes.items()}
    LoraChanges([LoraWeights(network.weights[0], 1.0)], layout)
    return TensorReport("changes of the transformer", len(_found(network)))


def _reported(what: str, make: Callable[[], TensorReport]) -> TensorReport:
    try:
        return make()
    except DependencyError as exc:
        return TensorReport(what, problems=(str(exc),))
    except (TypeError, ValueError, LookupError, ArithmeticError, AttributeError) as exc:
        return TensorReport(what, problems=(f"its settings cannot be used ({exc!r})",))


def _base_sizes(base: Part | None) -> dict[str, int]:
    """Sizes of the base beside the other parts; empty: there is none, or it cannot be read."""
    if base is None or TRANSFORMER not in base.networks:
        return {}
    network = base.networks[TRANSFORMER]
    try:
        return ({} if base.problems else _shown_sizes(_found(network))) | sizes_of_config(_settings(network))
    except (DependencyError, KeyError, TypeError):
        return {}


def _settings(network: NetworkFiles) -> dict[str, Any]:
    assert network.config is not None, "a transformer has a config.json"
    try:
        return dict(json.loads(network.config.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as exc:
        raise DependencyError(f"{network.config}: cannot be read ({exc}); download it again") from exc


def _found(network: NetworkFiles) -> Shapes:
    from infinitetalk_cli.models.expected import shapes_of
    from infinitetalk_cli.models.tensor_files import TensorFiles

    return shapes_of(TensorFiles(network.weights).layout)


def _shown_sizes(found: Shapes) -> dict[str, int]:
    """Sizes that the tensors show, whichever layout's names they have."""
    from infinitetalk_cli.models.keys import key_to_published

    published = {}
    for name, shape in found.items():
        try:
            published[key_to_published(name)] = shape
        except KeyError:
            published[name] = shape
    return sizes_of_tensors(published)


def _folder(part: Part) -> Path:
    assert part.place is not None
    return part.place if part.place.is_dir() else part.place.parent


def _with_hashes(report: PartReport, weights_root: Path, progress: Progress) -> PartReport:
    """Compare the content of every file whose SHA-256 the catalogue or the hub stated."""
    wrong, num_hashes = [], 0
    for file, sha256 in _known_hashes(report.part, weights_root):
        if not file.is_file():
            continue
        progress.start(f"reading {file.name}", file.stat().st_size)
        num_hashes += 1
        if sha256_of(file, progress.advance) != sha256:
            wrong.append(f"{file}: its SHA-256 is not the published one; delete it and pull it again")
    return replace(report, problems=(*report.problems, *wrong), num_hashes=num_hashes)


def _known_hashes(part: Part, weights_root: Path) -> Iterator[tuple[Path, str]]:
    """Files of a catalogue entry and the SHA-256 that they must have."""
    entry = load_catalog().get(part.name)
    if entry is None:
        return
    files = sorted({file for network in part.networks.values() for file in network.all_files})
    is_single = len(files) == 1  # people keep such a file wherever they like
    pins = read_pins(weights_root)
    for publication in entry.layouts.values():
        stated = {file.path: file.sha256 for file in publication.files if file.sha256 is not None}
        if publication.repo in pins:
            stated |= pins[publication.repo].sha256
        for path, sha256 in stated.items():
            ending = f"/{Path(path).name if is_single and entry.kind == 'lora' else path}"
            yield from ((file, sha256) for file in files if file.as_posix().endswith(ending))
