"""The ways to dub that the claims compare."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from infinitetalk_cli.config.profile import Profile
from infinitetalk_cli.evaluate.synthetic.settings import BASELINES, KNOWN_MODELS, MAIN, STRATEGIES, Method

_EVERY_CHUNK = ("chunks.reference_refresh", "chunk")

SPARSE = Method("sparse", "ours: sparse frames, as the profile has it")
REFRESHED = Method("sparse-refresh", "ours with a new reference for every chunk", changes=(_EVERY_CHUNK,))

_SAID = {
    "m0": "trained on references from the chunk itself",
    "m1": "trained on the chunk's first or last frame",
    "m2": "trained on references more than 5 s away",
    "m3": "trained on references within 1 s around the chunk",
    "i2v": "trained on the first frame alone, image to video from the last frame",
    "fl2v": "trained on first and last frame, both from the source",
}


def same_weights(mode: str) -> Method:
    """A baseline of the paper run with the weights that are judged, which were not trained for it."""
    said = {
        "i2v": "image to video from the last frame, same weights",
        "fl2v": "first and last frame from the source, same weights",
    }
    return Method(mode, said[mode], changes=(("chunks.conditioning", mode),))


def of_model(name: str) -> Method:
    """What trained weights by this name are run as: a baseline as it was trained, all else as the paper's loop does it.

    The published loop takes a new reference for every chunk.
    """
    change = ("chunks.conditioning", name) if name in BASELINES else _EVERY_CHUNK
    return Method(f"{name}-trained", _SAID.get(name, f"weights {name}"), weights=name, changes=(change,))


def streaming_models(names: Collection[str]) -> Iterator[Method]:
    """Those of the weights `names` that stream with reference frames: known strategies first, then others."""
    given = [name for name in STRATEGIES if name in names]
    for name in (*given, *(name for name in names if name not in (MAIN, *KNOWN_MODELS))):
        yield of_model(name)


def baseline_models(names: Collection[str]) -> Iterator[Method]:
    """Those of the weights `names` that are trained baselines."""
    for name in BASELINES:
        if name in names:
            yield of_model(name)


def locked(strength: float, weights: str = MAIN) -> Method:
    """Start from the source on all chunks (SDEdit); 0 is no lock. Other weights than those judged run as `of_model`."""
    name = f"lock-{strength:.2f}" if strength else "free"
    changes: tuple[tuple[str, str | float], ...] = ()
    if strength:
        changes = (("camera.lock", "all"), ("sampling.sdedit_t0", round(1 - strength, 6)))
    if weights == MAIN:
        return SPARSE if not strength else Method(name, f"camera lock {strength:g}", changes=changes)
    said = f"{weights}, camera lock {strength:g}" if strength else f"{weights}, no camera lock"
    return Method(f"{weights}-{name}", said, weights, (_EVERY_CHUNK, *changes))


def steered(strength: float, sdedit: float = 0.0) -> Method:
    """The camera branch on all chunks, which start from the source as well with an `sdedit` strength above 0."""
    name, said = f"uni3c-{strength:.2f}", f"camera branch (Uni3C) {strength:g}"
    changes: tuple[tuple[str, str | float], ...] = (("camera.lock", "all"), ("camera.uni3c.strength", strength))
    if not sdedit:
        return Method(name, said, changes=(*changes, ("camera.method", "uni3c")))
    both = (("camera.method", "both"), ("sampling.sdedit_t0", round(1 - sdedit, 6)))
    return Method(f"{name}-lock-{sdedit:.2f}", f"{said} and camera lock {sdedit:g}", changes=(*changes, *both))


def continued_from(context_frames: int, profile: Profile) -> Method:
    """Chunks that continue from so many frames of the one before; from none every chunk is a scene of its own.

    Without context a chunk begins with the source's own frame, at the same places as with the profile's context.
    """
    chunks = profile.chunks
    if context_frames == 0:
        return Method("context-0", "no context frames", cut_every=chunks.num_frames - chunks.context_frames)
    if context_frames == chunks.context_frames:
        return SPARSE
    said = "1 context frame" if context_frames == 1 else f"{context_frames} context frames"
    return Method(f"context-{context_frames}", said, changes=(("chunks.context_frames", context_frames),))
