"""From the names in a profile to files on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from infinitetalk_cli.checkpoints.catalog import Kind, load_catalog, nearest_name
from infinitetalk_cli.checkpoints.files import (
    AUDIO_ENCODER,
    CODEC,
    TRANSFORMER,
    LoraWeights,
    ModelFiles,
    NetworkFiles,
)
from infinitetalk_cli.checkpoints.headers import Problem, problems_of
from infinitetalk_cli.checkpoints.places import Part, find_part
from infinitetalk_cli.config.profile import ModelProfile
from infinitetalk_cli.errors import DependencyError, ProfileError

_BUILTIN = Path(__file__).resolve().parent.parent / "weights"
_NANO_NETWORKS = (TRANSFORMER, CODEC, AUDIO_ENCODER)
_NUM_SHOWN = 12
"""Files named in one message; of more, the count is given."""


def builtin_folder(name: str) -> Path:
    """Folder of weights that ship inside the package."""
    return _BUILTIN / name


def locate_model(model: ModelProfile, weights_root: Path) -> ModelFiles:
    """The files of every network of `model`, checked to be there and whole at first sight.

    Raises:
        DependencyError: files are missing or damaged; the message says which, and how to get them.
    """
    if model.family == "nano":
        return locate_nano(_nano_folder(model, weights_root))
    parts = find_parts(model, weights_root)
    return _joined(model, require_parts(parts, weights_root, "use --profile nano, which is built in"))


def find_parts(model: ModelProfile, weights_root: Path) -> list[Part]:
    """What each name of a model stands for here, complete or not.

    Raises:
        ProfileError: a name stands for weights of another kind.
    """
    if model.family == "nano":
        return [_nano_part(model, weights_root)]
    named: list[tuple[str | None, Kind]] = [
        (model.base, "base"),
        (model.audio_encoder, "audio_encoder"),
        (model.audio_weights, "audio_weights"),
        *((lora.file, "lora") for lora in model.loras),
    ]
    wanted = [(name, kind) for name, kind in named if name is not None]
    for name, kind in wanted:
        entry = load_catalog().get(name)
        if entry is not None and entry.kind != kind:
            raise ProfileError(
                f"model: {name} is of kind {entry.kind}, and named as {kind}; see `infinitetalk models list`"
            )
    return [find_part(name, kind, weights_root) for name, kind in wanted]


def require_parts(parts: Sequence[Part], weights_root: Path, alternative: str | None = None) -> Sequence[Part]:
    """`parts`, if all of them are complete; `alternative` is what else the user could do.

    Raises:
        DependencyError: names all that is missing or damaged at once, and the command that gets it.
    """
    incomplete = [part for part in parts if not part.is_complete]
    if not incomplete:
        return parts
    known = [part.name for part in incomplete if part.name in load_catalog()]
    remedies = []
    if known:
        remedies.append(f"get them with `infinitetalk models pull {' '.join(dict.fromkeys(known))}`")
    if len(known) < len(incomplete):
        remedies.append("correct the paths in the profile (or --weights-dir)")
    if alternative is not None:
        remedies.append(f"or {alternative}")
    what = [_complaint(part) for part in incomplete if part.place is not None]
    absent = [_suggested(part.name) for part in incomplete if part.place is None]
    if absent:
        what.append(f"{', '.join(absent)} (neither in {weights_root} nor in the hub's cache)")
    raise DependencyError(f"weights are missing: {'; '.join(what)}; {', '.join(remedies)}")


def locate_nano(folder: Path) -> ModelFiles:
    """The networks of a nano model exported to `folder`.

    Raises:
        DependencyError: a file is missing or damaged.
    """
    networks, problems = _nano_files(folder)
    if problems:
        remedy = (
            "install infinitetalk again with `pip install --force-reinstall --no-deps infinitetalk`"
            if folder.is_relative_to(_BUILTIN)
            else f"train them with `infinitetalk train nano --out {folder}`, or correct model.weights in the profile"
        )
        named = ", ".join(problem.within(folder) for problem in problems)
        raise DependencyError(f"{folder}: weights are missing ({named}); {remedy}")
    return ModelFiles("nano", networks)


def _nano_files(folder: Path) -> tuple[dict[str, NetworkFiles], tuple[Problem, ...]]:
    networks = {
        name: NetworkFiles(
            layout="ours",
            weights=(folder / name / "diffusion_pytorch_model.safetensors",),
            config=folder / name / "config.json",
        )
        for name in _NANO_NETWORKS
    }
    return networks, problems_of(path for network in networks.values() for path in network.all_files)


def _nano_part(model: ModelProfile, weights_root: Path) -> Part:
    assert model.weights is not None, "a nano profile names its weights"
    folder = _nano_folder(model, weights_root)
    if not folder.is_dir():
        return Part(model.weights, "nano", None, None, {}, ())
    return Part(model.weights, "nano", folder, "path", *_nano_files(folder))


def _joined(model: ModelProfile, parts: Sequence[Part]) -> ModelFiles:
    """One model of its parts: audio weights come after the base's, and win."""
    base, encoder, audio, *loras = parts
    transformer = base.networks[TRANSFORMER]
    networks = base.networks | encoder.networks
    networks[TRANSFORMER] = replace(
        transformer,
        weights=transformer.weights + audio.networks[TRANSFORMER].weights,
        loras=tuple(
            LoraWeights(part.networks[TRANSFORMER].weights[0], lora.weight, model.lora_alpha == "honour")
            for part, lora in zip(loras, model.loras, strict=True)
        ),
    )
    return ModelFiles("infinitetalk", networks)


def _suggested(name: str) -> str:
    """A name that is not here, with the entry that it may misspell."""
    near = None if name in load_catalog() else nearest_name(name)
    return f"{name} (did you mean {near}?)" if near else name


def _complaint(part: Part) -> str:
    assert part.place is not None, "there is something to complain of"
    folder = part.place if part.place.is_dir() else part.place.parent
    shown = [problem.within(folder) for problem in part.problems[:_NUM_SHOWN]]
    if len(part.problems) > _NUM_SHOWN:
        shown.append(f"and {len(part.problems) - _NUM_SHOWN} more")
    return f"{part.name} (in {folder}: {', '.join(shown)})"


def _nano_folder(model: ModelProfile, weights_root: Path) -> Path:
    if model.builtin_name is not None:
        return builtin_folder(model.builtin_name)
    assert model.weights is not None, "a nano profile names its weights"
    return weights_root / Path(model.weights).expanduser()
