"""Which clips of a list are taken, and whose audio each is given: by hashes, not by a library's random numbers."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Sequence

SEED = 2508


def by_hash(ids: Iterable[str], seed: int) -> list[str]:
    """`ids` in the order of sha256("SEED:ID")."""
    return sorted(ids, key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).hexdigest())


def speaker_of(name: str) -> str:
    """Who speaks in a clip, as far as its name tells: the name without the numbers at its end (`WDA_AdamSmith1_0`)."""
    return re.sub(r"(?<=\D)\d*(_\d+)*$", "", name) or name


def donors(order: Sequence[str], speaker: Callable[[str], str] = speaker_of) -> dict[str, str]:
    """The donor of each id: the next in `order`, the last one's is the first; one cycle, so nobody keeps their own.

    Where that is the same speaker, donors are swapped with the next clip of which both then differ, so that it stays
    a permutation. Clips of one speaker alone keep the cycle. `ValueError` for fewer than two.
    """
    if len(order) < 2:
        raise ValueError("fewer than two clips cannot exchange their audio")
    count = len(order)
    given = [(place + 1) % count for place in range(count)]

    def clashes(place: int, donor: int) -> bool:
        return place == donor or speaker(order[place]) == speaker(order[donor])

    for place in range(count):
        if not clashes(place, given[place]):
            continue
        for step in range(1, count):
            other = (place + step) % count
            if not clashes(place, given[other]) and not clashes(other, given[place]):
                given[place], given[other] = given[other], given[place]
                break
    return {order[place]: order[donor] for place, donor in enumerate(given)}
