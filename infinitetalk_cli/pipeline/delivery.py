"""Hands the finished file over: copied beside its place, renamed into it, and remembered.

A receipt in the cache says which job made a file and what it looked like then. A second run recognises its own finished
work by it, and never overwrites a file that somebody else made or changed, or that another job made.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from infinitetalk_cli.cache.files import make_folder, make_way, sha256_of, sync_file, sync_folder, write_text_atomic
from infinitetalk_cli.cache.lock import hold_lock
from infinitetalk_cli.cache.store import Store
from infinitetalk_cli.errors import OutputError, writing_to


class Receipt(BaseModel):
    """What was delivered: made from which files, under which fingerprint, and the result as it was left."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    job: str
    fingerprint: str
    size_bytes: int
    mtime_ns: int


@dataclass(frozen=True)
class Destination:
    """The place of one job's result. `job` names the files that go in, `fingerprint` all that decides the bytes."""

    output: Path
    job: str
    fingerprint: str
    store: Store

    def is_delivered(self, result: Path | None) -> bool:
        """Whether `output` is exactly what this job delivers; `result` is the cached one, if there is one.

        A run that was killed between putting the file in its place and keeping the receipt is recognised by content.
        """
        if not self.output.is_file():
            return False
        receipt = self._read_receipt()
        if receipt is not None and receipt == self._receipt():
            return True
        if result is None or result.stat().st_size != self.output.stat().st_size:
            return False
        if sha256_of(result) != sha256_of(self.output):
            return False
        self._keep_receipt()
        return True

    def check(self, sources: tuple[Path, ...], *, force: bool, make_folders: bool = True) -> None:
        """Refuse what would do harm or could only fail after a night's work.

        An untouched earlier result of the same files (with other settings, or edited since) may be replaced; all else
        needs `force`. Without `make_folders` nothing is left behind: the nearest folder that is there is tried.

        Raises:
            OutputError: `output` is one of the inputs, a folder, cannot be written, or is somebody else's.
        """
        for source in sources:
            if self.output.exists() and source.exists() and self.output.samefile(source):
                raise OutputError(
                    f"{self.output}: the output would overwrite its own input; choose another name with -o"
                )
        if self.output.is_dir():
            raise OutputError(f"{self.output}: is a folder; name a file with -o")
        if self.output.exists() and not force and not self._is_own_earlier_result():
            raise OutputError(
                f"{self.output}: already exists and is not this job's result; "
                "choose another name with -o, or add --force to overwrite it"
            )
        with writing_to(self.output):
            if make_folders:
                make_folder(self.output.parent)
            folder, missing = nearest_folder(self.output.parent)
            with tempfile.TemporaryFile(dir=folder):
                pass  # not `_partial`: another run may be filling it
            for name in (*missing, self._partial.name):
                with suppress(FileNotFoundError):
                    (folder / name).stat()  # a name may be too long for the disk

    def lock(self, *, wait_s: float | None, on_wait: Callable[[str], None]) -> AbstractContextManager[None]:
        """Keep other runs from making the same file."""
        path = self.store.root / "locks" / f"output-{self._name}.lock"
        return hold_lock(path, str(self.output), wait_s=wait_s, on_wait=on_wait)

    def deliver(self, result: Path) -> None:
        """Put a copy of `result` at `output` in one step, and keep a receipt."""
        with writing_to(self.output):
            try:
                shutil.copyfile(result, self._partial)
                sync_file(self._partial)
                os.replace(self._partial, self.output)
            finally:
                self._partial.unlink(missing_ok=True)
            sync_folder(self.output.parent)
        self._keep_receipt()

    @property
    def _partial(self) -> Path:
        """One name for all jobs of this cache, under the lock of `output`: what a killed run left is written over."""
        cache = hashlib.sha256(os.fsencode(self.store.root)).hexdigest()[:8]
        return self.output.with_name(f".{self.output.name}.{cache}.partial")

    @property
    def _name(self) -> str:
        return hashlib.sha256(os.fsencode(self.output.absolute())).hexdigest()[:32]

    @property
    def _receipt_path(self) -> Path:
        return self.store.root / "receipts" / f"{self._name}.json"

    def _receipt(self) -> Receipt:
        stat = self.output.stat()
        return Receipt(job=self.job, fingerprint=self.fingerprint, size_bytes=stat.st_size, mtime_ns=stat.st_mtime_ns)

    def _keep_receipt(self) -> None:
        with writing_to(self._receipt_path):
            make_folder(self._receipt_path.parent)
            make_way(self._receipt_path)
            write_text_atomic(self._receipt_path, self._receipt().model_dump_json())

    def _read_receipt(self) -> Receipt | None:
        try:
            return Receipt.model_validate_json(self._receipt_path.read_bytes())
        except (OSError, ValidationError):
            return None

    def _is_own_earlier_result(self) -> bool:
        receipt = self._read_receipt()
        return (
            receipt is not None
            and receipt.job == self.job
            and receipt == self._receipt().model_copy(update={"fingerprint": receipt.fingerprint})
        )


def nearest_folder(folder: Path) -> tuple[Path, tuple[str, ...]]:
    """`folder` or the nearest thing above it that is there, and the names of the folders missing below that."""
    absolute = folder.absolute()
    found = next(path for path in (absolute, *absolute.parents) if path.exists())
    return found, absolute.relative_to(found).parts
