"""Ranks of people: means, ties, tests, catch pages, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import friedmanchisquare

from infinitetalk_cli.errors import InputError
from infinitetalk_cli.evaluate.study.aspects import ASPECTS
from infinitetalk_cli.evaluate.study.score import read_key, score_study

METHODS = ("ours", "latent", "muse")


def _key(folder: Path, videos: int, methods: tuple[str, ...] = METHODS) -> Path:
    trials = [
        {"id": f"t{v}", "clip": f"clip{v}", "kind": "rank", "files": {f"{v}{m}.mp4": m for m in methods}}
        for v in range(videos)
    ]
    files = {"r.mp4": "ours", "l.mp4": "late sound"}
    trials.append({"id": "late", "clip": "clip0", "kind": "late sound", "files": files,
                   "better": "r.mp4", "aspect": "lip_sync"})  # fmt: skip
    path = folder / "key.json"
    path.write_text(json.dumps({"study": "s1", "methods": list(methods), "trials": trials}))
    return path


def _answers(
    folder: Path,
    rater: str,
    ranks: np.ndarray,
    methods: tuple[str, ...] = METHODS,
    study: str = "s1",
    caught: bool = False,
) -> Path:
    """`ranks` (videos, methods), the same for every aspect."""
    answers = []
    for video, row in enumerate(ranks):
        files = [f"{video}{method}.mp4" for method in methods]
        given = {file: int(rank) for file, rank in zip(files, row, strict=True)}
        answers.append(
            {"trial": f"t{video}", "shown": files[::-1], "ranks": dict.fromkeys(ASPECTS, given), "seconds": 9.5}
        )
    late = {"l.mp4": 1, "r.mp4": 2} if caught else {"l.mp4": 2, "r.mp4": 1}
    answers.append(
        {"trial": "late", "shown": ["l.mp4", "r.mp4"], "ranks": dict.fromkeys(ASPECTS, late), "seconds": 1.0}
    )
    path = folder / f"{rater}.json"
    path.write_text(json.dumps({"study": study, "rater": rater, "answers": answers}))
    return path


def test_mean_ranks_intervals_and_tests(tmp_path: Path) -> None:
    generator = np.random.default_rng(1)
    videos = 10
    base = np.array([1, 2, 3])
    people = []
    for _ in range(6):
        ranks = np.array([base if generator.random() < 0.8 else generator.permutation(base) for _ in range(videos)])
        people.append(ranks)
    files = [_answers(tmp_path, f"p{number}", ranks) for number, ranks in enumerate(people)]
    found = score_study(read_key(_key(tmp_path, videos)), files).aspects["lip_sync"]
    mean = np.mean(people, axis=(0, 1))
    assert [found.ranks[m].mean for m in METHODS] == pytest.approx(mean.tolist())
    assert sum(rank.mean for rank in found.ranks.values()) == pytest.approx(6), "k (k + 1) / 2"
    assert all(rank.low <= rank.mean <= rank.high for rank in found.ranks.values())
    assert found.ranks["ours"].high < found.ranks["muse"].low
    blocks = np.mean(people, axis=0)
    truth = friedmanchisquare(*blocks.T)
    assert found.friedman_p == pytest.approx(truth.pvalue)
    assert found.kendall_w == pytest.approx(truth.statistic / (videos * 2))
    assert found.pairs["ours", "muse"] < 0.05
    assert (found.num_raters, found.num_videos, found.ranks["ours"].n) == (6, 10, 60)


def test_ties_span_their_ranks(tmp_path: Path) -> None:
    file = _answers(tmp_path, "p", np.array([[1, 1, 2]]))
    found = score_study(read_key(_key(tmp_path, 1)), [file])
    assert {m: r.mean for m, r in found.aspects["head"].ranks.items()} == {"ours": 1.5, "latent": 1.5, "muse": 3}
    assert found.aspects["head"].friedman_p is None
    row = next(row for row in found.rows if row.method == "ours")
    assert (row.tie_group, row.order_shown, row.seconds) == (1, 3, 9.5)


def test_two_methods_get_a_sign_test(tmp_path: Path) -> None:
    two = METHODS[:2]
    file = _answers(tmp_path, "p", np.array([[1, 2]] * 9 + [[2, 1]]), two)
    found = score_study(read_key(_key(tmp_path, 10, two)), [file]).aspects["identity"]
    assert found.friedman_p is None
    assert found.pairs["ours", "latent"] == pytest.approx(22 / 1024)


def test_who_prefers_late_sound_is_caught(tmp_path: Path) -> None:
    ranks = np.array([[1, 2, 3]])
    files = [_answers(tmp_path, "good", ranks), _answers(tmp_path, "asleep", ranks[:, ::-1], caught=True)]
    key = read_key(_key(tmp_path, 1))
    everybody, good = score_study(key, files), score_study(key, files, drop_caught=True)
    assert list(everybody.caught) == list(good.caught) == ["asleep"]
    assert everybody.aspects["lip_sync"].ranks["ours"].mean == 2
    assert good.aspects["lip_sync"].ranks["ours"].mean == 1


def test_what_does_not_belong_is_refused(tmp_path: Path) -> None:
    key = read_key(_key(tmp_path, 1))
    ranks = np.array([[1, 2, 3]])
    with pytest.raises(InputError, match="is of study s2, the key is of s1"):
        score_study(key, [_answers(tmp_path, "p", ranks, study="s2")])
    file = _answers(tmp_path, "p", ranks)
    with pytest.raises(InputError, match="'p' has answered already"):
        score_study(key, [file, file])
    (tmp_path / "x.json").write_text("[1]")
    with pytest.raises(InputError, match="is not a file of answers"):
        score_study(key, [tmp_path / "x.json"])
    whole = json.loads(file.read_text())
    for rank in (float("nan"), float("inf"), -1):
        whole["answers"][0]["ranks"]["lip_sync"] = {"0ours.mp4": rank, "0latent.mp4": 2, "0muse.mp4": 3}
        file.write_text(json.dumps(whole))
        with pytest.raises(InputError, match="is not a file of answers"):
            score_study(key, [file])
    file = _answers(tmp_path, "p", ranks)
    whole = json.loads(file.read_text())
    (tmp_path / "twice.json").write_text(json.dumps({**whole, "answers": whole["answers"][:1] * 2}))
    with pytest.raises(InputError, match="ranks one page twice"):
        score_study(key, [tmp_path / "twice.json"])
    file.write_text(file.read_text().replace("0ours.mp4", "zzz.mp4"))
    with pytest.raises(InputError, match="ranks videos that its study does not show"):
        score_study(key, [file])
