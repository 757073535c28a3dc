"""How the user wants the processes of a job to share it."""

from __future__ import annotations

import re
from dataclasses import dataclass

_PARTS = ("scenes", "guidance", "sequence")


@dataclass(frozen=True)
class Split:
    """How the user wants it: so many teams, in each so many processes for branches of guidance and for tokens."""

    scenes: int = 1
    guidance: int = 1
    sequence: int = 1

    @classmethod
    def parse(cls, text: str) -> Split:
        """`scenes=2,sequence=4`; what is not named is 1. `ValueError` says what is wrong."""
        counts: dict[str, int] = {}
        for part in text.replace(" ", "").split(","):
            found = re.fullmatch(rf"({'|'.join(_PARTS)})=([1-9]\d{{0,3}})", part)
            if found is None or found[1] in counts:
                raise ValueError(f"'{part}' is none of {', '.join(f'{name}=N' for name in _PARTS)}, each once")
            counts[found[1]] = int(found[2])
        return cls(**counts)

    @property
    def num_processes(self) -> int:
        """All together."""
        return self.scenes * self.guidance * self.sequence
