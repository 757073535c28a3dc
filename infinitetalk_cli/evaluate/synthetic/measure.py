"""The paper's claims on drawn characters that training never met, with voices and words it never heard.

Truth is known, so every figure stands beside what it can be at best, and beside what a copy of the source scores. See
docs/claims.md.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infinitetalk_cli.checkpoints.locate import locate_nano, nano_branch
from infinitetalk_cli.errors import InputError
from infinitetalk_cli.evaluate.synthetic.claims import ablation, camera, drift, lips, seams
from infinitetalk_cli.evaluate.synthetic.claims.result import Claim, Missing, Results, collect
from infinitetalk_cli.evaluate.synthetic.plots import Bars, Plot
from infinitetalk_cli.evaluate.synthetic.report import EvalReport, Machine, write_report
from infinitetalk_cli.evaluate.synthetic.settings import (
    BASELINES,
    CLAIMS,
    KNOWN_MODELS,
    MAIN,
    ClaimName,
    EvalSettings,
    Take,
)
from infinitetalk_cli.evaluate.synthetic.sheets import contact_sheet
from infinitetalk_cli.evaluate.synthetic.units import Runner
from infinitetalk_cli.progress import Progress

_LEAST_CHUNKS = 3
"""For a slope."""


@dataclass(frozen=True)
class _Asked:
    """What the claims are told: settings, names of the weights at hand, whether those judged have a camera branch."""

    settings: EvalSettings
    models: Collection[str]
    has_branch: bool

    def takes(self, claim: ClaimName) -> list[Take]:
        return _module(claim).takes(*self._arguments(claim))

    def measured(self, claim: ClaimName, results: Results) -> Claim:
        return _module(claim).measured(results, *self._arguments(claim))

    def plots(self, claim: ClaimName, results: Results) -> dict[str, Plot | Bars]:
        return _module(claim).plots(results, *self._arguments(claim))

    def _arguments(self, claim: ClaimName) -> tuple[Any, ...]:
        if claim in ("lips", "seams"):
            return (self.settings,)
        return (self.settings, self.models, self.has_branch) if claim == "camera" else (self.settings, self.models)


def _module(claim: ClaimName) -> Any:
    return {"lips": lips, "drift": drift, "seams": seams, "camera": camera, "ablation": ablation}[claim]


def measure(
    weights: Path,
    models: Mapping[str, Path],
    claims: Sequence[ClaimName],
    settings: EvalSettings,
    progress: Progress,
    out: Path | None = None,
) -> EvalReport:
    """Measure `claims` on `weights`, beside trained `models` (m0 .. m3, i2v, fl2v, or any name).

    With `out` everything found is kept there, an interrupted call goes on from it, and the report is written. What
    cannot be measured with the weights at hand is listed.

    Raises:
        DependencyError: weights are missing or damaged, or speech synthesis is not installed.
        ProfileError: the settings make no profile.
        InputError: too few chunks for a claim.
    """
    folders = {MAIN: weights} | {name: weights_in(folder) for name, folder in models.items()}
    for folder in folders.values():
        locate_nano(folder)
    names = [name for name in folders if name != MAIN]
    asked = _Asked(settings, names, nano_branch(weights) is not None)
    wanted, not_measured = _measurable(claims, names, asked.has_branch)
    _check_length(wanted, settings)
    with ExitStack() as stack:
        folder = out if out is not None else Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="eval-")))
        runner = Runner(settings, folders, folder, progress)
        takes = {claim: asked.takes(claim) for claim in wanted}
        results = collect(runner, [take for claim in wanted for take in takes[claim]])
        report = EvalReport(
            settings=settings,
            side_px=runner.side_px,
            machine=Machine.here(),
            claims=[asked.measured(claim, results) for claim in wanted],
            not_measured=not_measured,
        )
        if out is not None:
            progress.start("writing the report")
            plots = {claim: asked.plots(claim, results) for claim in wanted}
            sheets = {claim: contact_sheet(runner, takes[claim]) for claim in wanted}
            write_report(report, plots, sheets, out)
    return report


def weights_in(folder: Path) -> Path:
    """The folder of weights that is meant: itself, or `weights/` of a training run."""
    return folder / "weights" if (folder / "weights").is_dir() else folder


def named_models(texts: Sequence[str]) -> dict[str, Path]:
    """Weights by name from texts NAME=DIR.

    Raises:
        InputError: a text is none, or its folder is not there.
    """
    models = {}
    for text in texts:
        name, separator, folder = text.partition("=")
        if not (separator and name and folder) or name == MAIN or not name.replace("-", "").isalnum():
            raise InputError(f"--model {text}: say NAME=DIR, with a name such as {', '.join(KNOWN_MODELS)}")
        if not Path(folder).is_dir():
            raise InputError(f"--model {text}: there is no such folder; name that of a training run, or its weights/")
        models[name] = Path(folder)
    return models


def _check_length(claims: Sequence[ClaimName], settings: EvalSettings) -> None:
    for claim in ("drift", "seams", "ablation"):
        if claim in claims and settings.chunks_of(claim) < _LEAST_CHUNKS:
            raise InputError(
                f"--chunks {settings.chunks_of(claim)}: {claim} is about what changes from chunk to chunk; give at "
                f"least {_LEAST_CHUNKS}, or leave it out of --claims"
            )


def _measurable(
    claims: Sequence[ClaimName], models: Collection[str], has_branch: bool
) -> tuple[list[ClaimName], list[Missing]]:
    """The claims that the weights at hand allow, in order, and what they do not allow."""
    wanted, missing = [claim for claim in CLAIMS if claim in claims], []
    if "drift" in wanted:
        missing += [_missing("drift", f"{name} trained for it", name) for name in BASELINES if name not in models]
    if "camera" in wanted and "m3" not in models:
        missing.append(_missing("camera", "weights trained on cameras that move", "m3"))
    if "camera" in wanted and not has_branch:
        reason = "the weights have no camera branch (uni3c/); make one with `infinitetalk train nano-uni3c`"
        missing.append(Missing(claim="camera", what="following by Uni3C", reason=reason))
    if "ablation" in wanted:
        missing += [_missing("ablation", f"strategy {name}", name) for name in ablation.missing(models)]
        if not any(name not in BASELINES for name in models):
            wanted.remove("ablation")
    return wanted, missing


def _missing(claim: ClaimName, what: str, name: str) -> Missing:
    return Missing(
        claim=claim, what=what, reason=f"needs `infinitetalk train ablation-{name}`, then --model {name}=DIR"
    )
