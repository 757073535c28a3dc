"""What people's ranks say: mean ranks with intervals, and whether methods differ at all.

A video is the block of every test, with its ranks averaged over people, so that many answers of few people do not count
as many. Intervals draw people and videos anew.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from scipy.stats import binomtest, friedmanchisquare, rankdata, wilcoxon

from infinitetalk_cli.errors import InputError
from infinitetalk_cli.evaluate.intervals import DRAWS, SEED, SHARE
from infinitetalk_cli.evaluate.significance import EQUAL, FEWEST_DIFFERING, holm
from infinitetalk_cli.evaluate.study.aspects import ASPECTS

Rank = Annotated[float, Field(ge=1, le=100)]
"""As the page writes it, 1 the best."""


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Trial(_Value):
    """One page of the study, as the key knows it. Catch trials say which file must not rank behind, and on what."""

    id: str
    clip: str
    kind: str
    files: dict[str, str]
    better: str | None = None
    aspect: str | None = None


class Key(_Value):
    """`OUT-key.json`."""

    study: str
    methods: tuple[str, ...]
    trials: tuple[Trial, ...]


class Answer(_Value):
    """What somebody said on one page: aspect -> file -> rank."""

    trial: str
    shown: tuple[str, ...]
    ranks: dict[str, dict[str, Rank]] = {}
    seconds: float = 0.0


class Answers(_Value):
    """One person's file."""

    study: str
    rater: str
    answers: tuple[Answer, ...]


@dataclass(frozen=True)
class Row:
    """One rank; ties have the mean of the ranks they span."""

    rater: str
    video: str
    aspect: str
    method: str
    rank: float
    tie_group: int
    seconds: float
    order_shown: int


@dataclass(frozen=True)
class MeanRank:
    """Of one method on one aspect."""

    mean: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class AspectResult:
    """`friedman_p` and `kendall_w` need three methods, `pairs` (one, other) -> Holm's p of Wilcoxon or, with two
    methods, of the sign test; None where there are too few videos."""

    ranks: Mapping[str, MeanRank]
    num_raters: int
    num_videos: int
    friedman_p: float | None
    kendall_w: float | None
    pairs: Mapping[tuple[str, str], float | None]


@dataclass(frozen=True)
class StudyResult:
    """All aspects; `caught` are people who failed a catch trial, and why."""

    study: str
    aspects: Mapping[str, AspectResult]
    caught: Mapping[str, str]
    rows: tuple[Row, ...]


def read_key(path: Path) -> Key:
    """The key of a study; `InputError` if it is none."""
    return _read(path, Key, "a study's key")


def _read(path: Path, kind: type[Any], what: str) -> Any:
    try:
        return kind.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except OSError as exc:
        raise InputError(f"{path}: cannot be read ({exc.strerror or exc})") from exc
    except (ValueError, ValidationError) as exc:
        raise InputError(f"{path}: is not {what}") from exc


def score_study(key: Key, paths: Sequence[Path], *, drop_caught: bool = False) -> StudyResult:
    """The ranks of people's files.

    Raises:
        InputError: a file is of another study, is there twice, or ranks what was not shown.
    """
    people: dict[str, Answers] = {}
    for path in paths:
        answers = _read(path, Answers, "a file of answers of the study's page")
        if answers.study != key.study:
            raise InputError(f"{path}: is of study {answers.study}, the key is of {key.study}")
        if answers.rater in people:
            raise InputError(f"{path}: '{answers.rater}' has answered already in another file")
        people[answers.rater] = answers
    trials = {trial.id: trial for trial in key.trials}
    caught = {rater: why for rater, answers in people.items() if (why := _failed_catch(answers, trials))}
    kept = [answers for rater, answers in people.items() if not (drop_caught and rater in caught)]
    rows = tuple(row for answers in kept for row in _rows(answers, trials))
    if not rows:
        raise InputError("no ranks to count in these files")
    results = {
        aspect: _aspect(aspect, rows, key.methods) for aspect in ASPECTS if any(r.aspect == aspect for r in rows)
    }
    return StudyResult(key.study, results, caught, rows)


def _failed_catch(answers: Answers, trials: Mapping[str, Trial]) -> str | None:
    for answer in answers.answers:
        trial = trials.get(answer.trial)
        if trial is None or trial.better is None:
            continue
        ranks = answer.ranks.get(trial.aspect or "", {})
        others = [rank for file, rank in ranks.items() if file != trial.better]
        if trial.better in ranks and others and ranks[trial.better] > min(others):
            return f"preferred the wrong one of '{trial.kind}'"
    return None


def _rows(answers: Answers, trials: Mapping[str, Trial]) -> list[Row]:
    rows, seen = [], set[str]()
    for answer in answers.answers:
        trial = trials.get(answer.trial)
        if answer.trial in seen:
            raise InputError(f"the file of '{answers.rater}' ranks one page twice")
        seen.add(answer.trial)
        if trial is None or set(answer.shown) != set(trial.files):
            raise InputError(f"the file of '{answers.rater}' ranks videos that its study does not show")
        if trial.kind != "rank":
            continue
        for aspect, ranks in answer.ranks.items():
            if set(ranks) != set(trial.files):
                continue  # not finished
            files = list(ranks)
            given = np.array([ranks[file] for file in files])
            for file, rank, raw in zip(files, rankdata(given), given, strict=True):
                order = answer.shown.index(file) + 1
                rows.append(
                    Row(
                        answers.rater,
                        trial.clip,
                        aspect,
                        trial.files[file],
                        float(rank),
                        int(raw),
                        answer.seconds,
                        order,
                    )
                )
    return rows


def _aspect(aspect: str, rows: Sequence[Row], methods: Sequence[str]) -> AspectResult:
    mine = [row for row in rows if row.aspect == aspect]
    raters, videos = sorted({row.rater for row in mine}), sorted({row.video for row in mine})
    # (raters, videos, methods), NaN where somebody did not see a video.
    cube = np.full((len(raters), len(videos), len(methods)), np.nan)
    for row in mine:
        cube[raters.index(row.rater), videos.index(row.video), methods.index(row.method)] = row.rank
    low, high = _two_way(cube)
    means = np.nanmean(cube, axis=(0, 1))
    counts = (~np.isnan(cube)).sum(axis=(0, 1))
    ranks = {
        name: MeanRank(float(means[k]), float(low[k]), float(high[k]), int(counts[k])) for k, name in enumerate(methods)
    }
    blocks = np.nanmean(cube, axis=0)
    return AspectResult(ranks, len(raters), len(videos), *_friedman(blocks), _pairs(blocks, methods))


def _two_way(cube: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Interval of the mean rank of each method, drawing people and videos with replacement."""
    generator = np.random.default_rng(SEED)
    draws = []
    for _ in range(DRAWS):
        people = generator.integers(0, cube.shape[0], cube.shape[0])
        videos = generator.integers(0, cube.shape[1], cube.shape[1])
        drawn = cube[np.ix_(people, videos)]
        if not np.isnan(drawn).all():
            draws.append(np.nanmean(drawn, axis=(0, 1)))
    low, high = np.quantile(np.array(draws), ((1 - SHARE) / 2, (1 + SHARE) / 2), axis=0)
    return low, high


def _friedman(blocks: np.ndarray) -> tuple[float | None, float | None]:
    """p and Kendall's W over videos; None with fewer than three methods or two videos."""
    num_blocks, num_methods = blocks.shape
    if num_methods < 3 or num_blocks < 2 or np.ptp(blocks, axis=1).max() == 0:
        return None, None
    found = friedmanchisquare(*blocks.T)
    return float(found.pvalue), float(found.statistic / (num_blocks * (num_methods - 1)))


def _pairs(blocks: np.ndarray, methods: Sequence[str]) -> dict[tuple[str, str], float | None]:
    found: dict[tuple[str, str], float | None] = {}
    for one, other in combinations(range(len(methods)), 2):
        difference = blocks[:, one] - blocks[:, other]
        difference = difference[np.abs(difference) > EQUAL]
        if len(difference) < FEWEST_DIFFERING:
            p = None
        elif len(methods) == 2:
            p = float(binomtest(int((difference < 0).sum()), len(difference)).pvalue)
        else:
            p = float(wilcoxon(difference).pvalue)
        found[methods[one], methods[other]] = p
    known = [pair for pair, p in found.items() if p is not None]
    for pair, p in zip(known, holm([found[pair] for pair in known]), strict=True):  # type: ignore[misc]
        found[pair] = p
    return found
