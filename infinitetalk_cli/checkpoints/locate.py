"""From the names in a profile to files on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from infinitetalk_cli.checkpoints.catalog import Kind, load_catalog, nearest_name
from infinitetalk_cli.checkpoints.files import (
    AUDIO_ENCODER,
    CODEC,
    CONTROL,
    TRANSFORMER,
    LoraWeights,
    ModelFiles,
    NetworkFiles,
)
from infinitetalk_cli.checkpoints.headers import Problem, problems_of
from infinitetalk_cli.checkpoints.layouts import uni3c_files
from infinitetalk_cli.checkpoints.places import Part, find_part
from infinitetalk_cli.config.model import ModelProfile
from infinitetalk_cli.errors import DependencyError, ProfileError

_BUILTIN = Path(__file__).resolve().parent.parent / "weights"
_NANO_NETWORKS = (TRANSFORMER, CODEC, AUDIO_ENCODER)
_UNI3C_ENTRIES = ("uni3c", "uni3c-fp16")
"""The published camera branch, in the two forms it is published in; the first one that is here counts."""
_NANO_UNI3C = "uni3c"
"""Folder of nano's own camera branch among its weights."""
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


def locate_uni3c(model: ModelProfile, weights_root: Path) -> NetworkFiles:
    """The files of the camera branch that goes with `model`: the one it names, else its own or the published one.

    Raises:
        DependencyError: they are missing or damaged; the message says which, and how to get them.
        ProfileError: the name stands for weights of another kind.
    """
    if model.uni3c is None and model.family == "nano":
        return _nano_uni3c(_nano_folder(model, weights_root))
    name = model.uni3c
    if name is not None and name in load_catalog() and load_catalog()[name].kind != "uni3c":
        kind = load_catalog()[name].kind
        raise ProfileError(f"model.uni3c: {name} is of kind {kind}, no camera branch; see `infinitetalk models list`")
    parts = [find_part(each, "uni3c", weights_root) for each in (_UNI3C_ENTRIES if name is None else (name,))]
    part = next((part for part in parts if part.is_complete), parts[0])
    require_parts([part], weights_root, "leave out --camera-method")
    return part.networks[CONTROL]


def _nano_uni3c(folder: Path) -> NetworkFiles:
    found = uni3c_files(folder / _NANO_UNI3C)
    if found.problems:
        raise DependencyError(
            f"{folder}: has no camera branch ({_NANO_UNI3C}/: {found.problems[0].state}); train one with `infinitetalk "
            "train nano-uni3c` and name the weights it makes in model.weights, or leave out --camera-method"
        )
    return found.networks[CONTROL]


def nano_branch(folder: Path) -> NetworkFiles | None:
    """The camera branch of a nano model exported to `folder`; None: it has none."""
    found = uni3c_files(folder / _NANO_UNI3C)
    return None if found.problems else found.networks[CONTROL]


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
    networks, problems = _nano_files(folder)
    if (folder / _NANO_UNI3C).is_dir():
        branch = uni3c_files(folder / _NANO_UNI3C)
        networks, problems = networks | branch.networks, problems + branch.problems
    return Part(model.weights, "nano", folder, "path", networks, problems)


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
