"""Which commit of a repository was pulled, noted beside the weights: `pins.json` in the weights folder.

The catalogue pins the commits it knows. For the others the first pull notes the one it got, and every later pull and
look-up keeps to it until the note is removed. The hashes that the hub stated are noted too, for `verify --sha256`.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from infinitetalk_cli.cache.files import write_text_atomic
from infinitetalk_cli.errors import writing_to

PINS_FILE = "pins.json"


class Pin(BaseModel):
    """The commit of a repository, and the SHA-256 of its large files by path, as far as they were pulled."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    commit: str
    sha256: dict[str, str] = {}


_PINS = TypeAdapter(dict[str, Pin])


def read_pins(weights_root: Path) -> dict[str, Pin]:
    """Pins by repository; a note that cannot be read counts as none."""
    try:
        return _PINS.validate_json((weights_root / PINS_FILE).read_bytes())
    except (OSError, ValidationError):
        return {}


def write_pin(weights_root: Path, repo: str, pin: Pin) -> None:
    """Note `pin` beside the others; hashes of files pulled earlier from the same commit are kept.

    Raises:
        OutputError, ResourceError: the folder cannot be written.
    """
    pins = read_pins(weights_root)
    before = pins.get(repo)
    if before is not None and before.commit == pin.commit:
        pin = pin.model_copy(update={"sha256": before.sha256 | pin.sha256})
    with writing_to(weights_root):
        weights_root.mkdir(parents=True, exist_ok=True)
        write_text_atomic(weights_root / PINS_FILE, _PINS.dump_json(pins | {repo: pin}, indent=1).decode())
