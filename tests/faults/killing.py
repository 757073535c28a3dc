"""SIGKILL at random moments, spread over all stages of a job, and the same command again until it is done.

Each try starts the real command as a process with an empty cache, waits until it works on the stage that the try aims
at, lets a random part of that stage's time pass and kills it. Where it landed is read from what the run had said and
done by then. Every third resumed run is killed once more, in what it still has to do. In the end the result and every
finished file in the cache must equal those of an uninterrupted run, bit for bit.

    python tests/faults/killing.py --tries 100 --seed 1
"""

from __future__ import annotations

import argparse
import collections
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jobs import JOBS, Ended, Job, chunk_files, contents, differences, freeze_program, leftovers, run, sha256, start

from infinitetalk_cli.cache.files import SIDECAR_SUFFIX
from infinitetalk_cli.cache.store import DONE_NAME

START, DELIVERY = "start", "delivery"
"""Before the first stage (reading profile, sources and weights), and after the last (the result goes to its place)."""

_STAGE_LINE = re.compile(r"\[\d+/\d+] (\w+): (running|resuming|done before)")


@dataclass(frozen=True)
class Whole:
    """An uninterrupted run: its files, how long each of its stages took, and how long finding it finished takes."""

    job: Job
    program: Path
    files: dict[str, str]
    result: str
    seconds: float
    stage_s: dict[str, float]
    again_s: float

    @property
    def targets(self) -> list[str]:
        """All that a kill can aim at."""
        return [START, *self.stage_s, DELIVERY]


@dataclass(frozen=True)
class Kill:
    """One kill: what it aimed at, where it landed, and the seconds since the run had begun or committed something."""

    target: str
    landed: str
    lost_s: float


@dataclass(frozen=True)
class Try:
    """A job that was killed and resumed until it was done; `wrong` names what differs from the whole run."""

    job: str
    kills: tuple[Kill, ...]
    resumes: int
    wrong: tuple[str, ...]


@dataclass
class Tally:
    """All tries so far."""

    tries: list[Try] = field(default_factory=list)

    @property
    def kills(self) -> list[Kill]:
        """The kills of all tries."""
        return [kill for attempt in self.tries for kill in attempt.kills]

    def lines(self) -> Iterator[str]:
        """What is to be reported."""
        kills = self.kills
        wrong = [attempt for attempt in self.tries if attempt.wrong]
        yield f"tries {len(self.tries)}, kills {len(kills)}, resumes {sum(attempt.resumes for attempt in self.tries)}"
        yield f"mismatches {len(wrong)}"
        for stage, count in sorted(collections.Counter(kill.landed for kill in kills).items()):
            yield f"  landed in {stage}: {count}"
        if kills:
            lost = [kill.lost_s for kill in kills]
            yield (
                f"lost per kill, since the run's start or last commit: {statistics.mean(lost):.2f} s on average, "
                f"median {statistics.median(lost):.2f} s, most {max(lost):.2f} s"
            )
        for attempt in wrong:
            yield f"  MISMATCH {attempt.job}, {attempt.kills}: {', '.join(attempt.wrong)[:2000]}"


class _Listener:
    """Follows what a run says on standard error, and knows which stage it works on."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.lines: list[str] = []
        self.running: str | None = None
        self.first_stage_s: float | None = None
        self._process = process
        self._news = threading.Condition()
        self._ended = False
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            with self._news:
                self.lines.append(line)
                if match := _STAGE_LINE.match(line):
                    self.first_stage_s = self.first_stage_s or time.monotonic()
                    self.running = None if match[2] == "done before" else match[1]
                self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()

    def wait_for(self, stage: str) -> bool:
        """Until the run works on `stage`; False if it ends without."""
        with self._news:
            self._news.wait_for(lambda: self._ended or self.running == stage)
            return self.running == stage

    def close(self) -> None:
        """Hear the rest."""
        self._thread.join()


def run_whole(job: Job, program: Path, folder: Path) -> Whole:
    """Run `job` from nothing to its end, and once more when it is finished; `program` holds the code that runs."""
    cache, output = folder / "whole", folder / "whole.mp4"
    first = run(job.command(cache, output), cwd=program)
    assert first.exit_code == 0, first.stderr
    again = run(job.command(cache, output), cwd=program)
    assert again.exit_code == 0 and again.document["status"] == "already done", again.stderr
    stage_s = {stage["name"]: stage["seconds"] for stage in first.document["stages"]}
    return Whole(job, program, contents(cache), sha256(output), first.seconds, stage_s, again.seconds)


def kill_once(whole: Whole, cache: Path, output: Path, target: str, chance: random.Random) -> Kill | Ended:
    """Run the job and kill it in `target`; how it ended if it was done before that."""
    began_s, began_at_s = time.monotonic(), time.time()
    process = start(whole.job.command(cache, output), cwd=whole.program)
    listener = _Listener(process)
    share = chance.random()
    if target == START:
        time.sleep(share * max(0.1, whole.again_s))
    elif target == DELIVERY:
        _wait_for_delivery(process, cache, list(whole.stage_s)[-1])
        time.sleep(share * 0.02)
    elif listener.wait_for(target):
        time.sleep(share * whole.stage_s[target])
    process.send_signal(signal.SIGKILL)
    process.wait()
    killed_s, killed_at_s = time.monotonic(), time.time()
    listener.close()
    assert process.stdout is not None
    stdout = process.stdout.read()
    process.stdout.close()
    if process.returncode != -signal.SIGKILL:
        return Ended(process.returncode, stdout, "".join(listener.lines), killed_s - began_s)
    lost_s = killed_at_s - max([began_at_s, *_commits(cache)])
    return Kill(target, _landed(whole, cache, output, listener), lost_s)


def _commits(cache: Path) -> Iterator[float]:
    """When each finished chunk and stage was committed, in seconds since the epoch."""
    for pattern in (f"*/*[0-9a-f]/{DONE_NAME}", f"generate/*/chunks/*{SIDECAR_SUFFIX}"):
        for path in cache.glob(pattern):
            yield path.stat().st_mtime


def _wait_for_delivery(process: subprocess.Popen[str], cache: Path, last_stage: str) -> None:
    while process.poll() is None and not any(cache.glob(f"{last_stage}/*[0-9a-f]/done.json")):
        time.sleep(0.0005)


def _landed(whole: Whole, cache: Path, output: Path, listener: _Listener) -> str:
    """The stage that a killed run was in; of `generate` with the number of chunks that had their final names."""
    last = list(whole.stage_s)[-1]
    if any(cache.glob(f"{last}/*[0-9a-f]/done.json")):
        return f"{DELIVERY}, {'after' if output.exists() else 'before'} the result was in its place"
    if listener.running is None:
        return START if listener.first_stage_s is None else "between stages"
    if listener.running == "generate":
        return f"generate, {len(chunk_files(cache))} chunks done"
    return listener.running


def try_once(
    whole: Whole, folder: Path, target: str, chance: random.Random, resume: Callable[..., Any] | None = None
) -> Try:
    """Kill `whole.job` in `target`, resume it (and maybe kill it again) until it is done, and compare.

    `resume` runs the arguments of a command to its end; without it the last run is a process, too.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    cache, output = folder / "cache", folder / "result.mp4"
    outcome = kill_once(whole, cache, output, target, chance)
    kills = [outcome] if isinstance(outcome, Kill) else []
    resumes = 0
    if kills and chance.random() < 1 / 3:
        later = whole.targets[whole.targets.index(target) :]
        outcome = kill_once(whole, cache, output, chance.choice(later), chance)
        resumes += 1
        if isinstance(outcome, Kill):
            kills.append(outcome)
    if isinstance(outcome, Kill):
        if resume is not None:
            outcome = resume(*whole.job.arguments(cache, output))
        else:
            outcome = run(whole.job.command(cache, output), cwd=whole.program)
        resumes += 1
    return Try(whole.job.name, tuple(kills), resumes, tuple(_wrong(whole, cache, output, outcome)))


def _wrong(whole: Whole, cache: Path, output: Path, ended: Any) -> Iterator[str]:
    if ended.exit_code:
        yield f"exit code {ended.exit_code}: {ended.stderr}"
        return
    if sha256(output) != whole.result:
        yield "result"
    yield from differences(whole.files, contents(cache))
    yield from leftovers(cache, output)


def kill_anywhere(wholes: Sequence[Whole], folder: Path, tries: int, seed: int) -> Iterator[Try]:
    """`tries` tries that take jobs and their targets in turn; those that ended before their kill are made again."""
    chance = random.Random(seed)
    aims = [(whole, target) for whole in wholes for target in whole.targets]
    order: list[tuple[Whole, str]] = []
    made = 0
    while made < tries:
        if not order:
            order = chance.sample(aims, len(aims))
        whole, target = order.pop()
        attempt = try_once(whole, folder / "try", target, chance)
        if attempt.kills or attempt.wrong:
            made += 1
            yield attempt


def main() -> None:
    """The command line; ends with 1 if anything differed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tries", type=int, default=100)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--jobs", nargs="+", choices=JOBS, default=list(JOBS))
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    tally, began_s = Tally(), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="killing-") as place:
        folder = Path(place)
        program = freeze_program(folder / "program")
        run_whole(JOBS[options.jobs[0]](folder / "warm"), program, folder / "warm")
        wholes = [run_whole(JOBS[name](folder / name), program, folder / name) for name in options.jobs]
        for whole in wholes:
            stages = ", ".join(f"{name} {seconds:.2f}" for name, seconds in whole.stage_s.items())
            print(f"{whole.job.name}: {whole.seconds:.1f} s ({stages}); when all is done {whole.again_s:.2f} s")
        for attempt in kill_anywhere(wholes, folder, options.tries, options.seed):
            tally.tries.append(attempt)
            landed = "; ".join(kill.landed for kill in attempt.kills)
            verdict = "WRONG: " + ", ".join(attempt.wrong)[:200] if attempt.wrong else "same"
            print(f"{len(tally.tries)}/{options.tries} {attempt.job}: {landed}: {verdict}", flush=True)
    print("\n".join(tally.lines()))
    print(f"took {time.monotonic() - began_s:.0f} s")
    sys.exit(any(attempt.wrong for attempt in tally.tries))


if __name__ == "__main__":
    main()
