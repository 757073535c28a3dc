"""The ranking study in a real browser: found as chromium on the path or named by INFINITETALK_TEST_BROWSER."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from conftest import run_here
from synthetic import Clip, ClipAudio, make_clip, speech

BROWSER = os.environ.get("INFINITETALK_TEST_BROWSER") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-headless-shell", "google-chrome", "chromium-browser"))), None
)
needs_browser = pytest.mark.skipif(BROWSER is None, reason="no Chromium; name one in INFINITETALK_TEST_BROWSER")


class Browser:
    """A page of headless Chromium, spoken to over pipes in the DevTools protocol."""

    def __init__(self, profile: Path, downloads: Path) -> None:
        to_child, self._out = os.pipe()
        self._in, from_child = os.pipe()

        def at_three_and_four() -> None:
            os.dup2(to_child, 10)
            os.dup2(from_child, 11)
            os.dup2(10, 3)
            os.dup2(11, 4)

        self._process = subprocess.Popen(
            [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", "--mute-audio",
             "--autoplay-policy=no-user-gesture-required", "--window-size=1100,1000", f"--user-data-dir={profile}"],
            preexec_fn=at_three_and_four, close_fds=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(to_child)
        os.close(from_child)
        self._rest, self._number, self._session = b"", 0, None
        self.requests: list[str] = []
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.ask("Network.enable")
        self.ask("Page.enable")
        self.ask("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(downloads))

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("method") == "Network.requestWillBeSent":
                self.requests.append(answer["params"]["request"]["url"])
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            piece = os.read(self._in, 1 << 16)
            assert piece, "the browser ended"
            self._rest += piece
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)

    def run(self, script: str) -> Any:
        found = self.ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True, userGesture=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def until(self, script: str, seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while not self.run(script):
            assert time.monotonic() < end, f"never came true: {script}"
            time.sleep(0.05)

    def open(self, path: Path) -> None:
        self.ask("Page.navigate", url=path.as_uri())
        self.until("document.readyState === 'complete' && Boolean(document.getElementById('begin'))")

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._in)
        os.close(self._out)


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    (tmp_path / "downloads").mkdir()
    browser = Browser(tmp_path / "profile", tmp_path / "downloads")
    yield browser
    browser.close()


def _results(root: Path, clips: int = 1) -> list[str]:
    args = []
    for number, name in enumerate(("ours", "theirs", "third")):
        folder = root / name
        folder.mkdir()
        for clip in range(clips):
            sound = ClipAudio(speech(1.5, seed=clip), 48_000)
            make_clip(folder / f"clip{clip}.mp4", Clip(16, (64, 64), audio=(sound,), first_number=100 * number))
        args += ["--method", f"{name}={folder}"]
    return args


def test_the_study_hides_whose_videos_they_are(tmp_path: Path) -> None:
    outcome = run_here("eval", "study", "make", tmp_path / "study", *_results(tmp_path), "--json", "-q")
    assert outcome.exit_code == 0, outcome.stderr
    page, key = Path(outcome.document["page"]), Path(outcome.document["key"])
    assert key.parent != page.parent
    text = page.read_text()
    assert not any(word in text for word in ("ours", "theirs", "third", "clip0", "https:", "http:"))
    files = {path.name for path in (page.parent / "videos").iterdir()}
    known = {file: method for trial in json.loads(key.read_text())["trials"] for file, method in trial["files"].items()}
    assert files == set(known)
    assert sorted(known.values()) == ["late sound", "ours", "ours", "theirs", "third"]
    again = run_here("eval", "study", "make", tmp_path / "study", "--method", "a=b", "--method", "c=d")
    assert again.exit_code == 7
    alone = run_here("eval", "study", "make", tmp_path / "s2", "--method", f"ours={tmp_path / 'ours'}")
    assert alone.exit_code == 4


_RANK_ALL = """
for (const box of document.querySelectorAll('#questions fieldset'))
  [...box.querySelectorAll('[role=radiogroup]')].forEach((group, i) => group.querySelectorAll('input')[i].click());
"""


@needs_browser
def test_somebody_ranks_everything_and_the_ranks_are_scored(tmp_path: Path, browser: Browser) -> None:
    outcome = run_here("eval", "study", "make", tmp_path / "study", *_results(tmp_path), "--json", "-q")
    page, key = Path(outcome.document["page"]), outcome.document["key"]
    browser.open(page)
    browser.run("document.getElementById('begin').click()")
    assert "code" in browser.run("document.getElementById('begin-note').textContent")
    browser.run("document.getElementById('rater').value = 'p1'; document.getElementById('begin').click()")
    shown = browser.run("[...document.querySelectorAll('#videos video')].map(v => v.dataset.file)")
    browser.run(_RANK_ALL)
    assert "Watch every video" in browser.run("document.getElementById('why').textContent")
    assert browser.run("document.getElementById('next').disabled")
    browser.run("document.getElementById('one-by-one').click()")
    browser.until("!document.getElementById('next').disabled")
    browser.run("document.getElementById('next').click()")

    browser.open(page)  # the browser was closed in between: nothing is lost
    browser.run("document.getElementById('rater').value = 'p1'; document.getElementById('begin').click()")
    assert browser.run("document.getElementById('number').textContent") == "2 of 2"
    browser.run("document.getElementById('one-by-one').click()")
    browser.run("document.querySelectorAll('#questions input[value=\"1\"]').forEach(input => input.click())")
    browser.until("document.querySelectorAll('.seen').length === [...document.querySelectorAll('.seen')]"
                  ".filter(s => s.textContent).length")  # fmt: skip
    assert "every rank once" in browser.run("document.getElementById('why').textContent"), "no ties unless allowed"
    browser.run(_RANK_ALL)
    browser.until("!document.getElementById('next').disabled")
    browser.run("document.getElementById('next').click()")
    saved = browser.run("fetch(document.getElementById('save').href).then(r => r.text())")
    table = browser.run("fetch(document.getElementById('save-csv').href).then(r => r.text())")
    assert all(url.startswith(("file:", "blob:", "data:")) for url in browser.requests)

    answers = json.loads(saved)
    assert answers["study"] == outcome.document["study"]
    trials = {trial["id"]: trial for trial in json.loads(Path(key).read_text())["trials"]}
    assert {answer["trial"] for answer in answers["answers"]} == set(trials)
    assert len(table.splitlines()) == 1 + 5 * sum(len(trial["files"]) for trial in trials.values())
    assert all(answer["seconds"] > 0 for answer in answers["answers"])
    assert shown == answers["answers"][0]["shown"]
    (tmp_path / "p1.json").write_text(saved)
    scored = run_here(
        "eval", "study", "score", tmp_path / "p1.json", "--key", key, "--json", "--csv", tmp_path / "r.csv"
    )
    assert scored.exit_code == 0, scored.stderr
    ranked = next(answer for answer in answers["answers"] if trials[answer["trial"]]["kind"] == "rank")
    for file, rank in ranked["ranks"]["lip_sync"].items():
        method = trials[ranked["trial"]]["files"][file]
        assert scored.document["aspects"]["lip_sync"]["ranks"][method]["mean"] == rank
    assert (tmp_path / "r.csv").read_text().startswith("rater,video,aspect,method,rank,tie_group,seconds,order_shown\n")


@needs_browser
def test_positions_are_balanced_over_people(tmp_path: Path, browser: Browser) -> None:
    outcome = run_here(
        "eval", "study", "make", tmp_path / "study", *_results(tmp_path), "--json", "-q", "--no-catch", "--ties"
    )
    browser.open(Path(outcome.document["page"]))
    firsts = browser.run("Array.from({length: 120}, (_, i) => plan('person' + i)[0].shown[0])")
    counts = sorted(firsts.count(name) for name in set(firsts))
    assert len(counts) == 3
    assert counts[0] > 20, counts
    squares = browser.run("[2, 3, 4, 5].map(k => Array.from({length: k % 2 ? 2 * k : k}, (_, r) => williams(r, k)))")
    for size, square in zip((2, 3, 4, 5), squares, strict=True):
        assert all(sorted(row) == list(range(size)) for row in square)
        for column in range(size):
            assert {row[column] for row in square} == set(range(size))
        neighbours = [pair for row in square for pair in pairwise(row)]
        assert len({neighbours.count(pair) for pair in neighbours}) == 1, "every neighbour equally often"
