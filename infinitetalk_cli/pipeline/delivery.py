"""Hands the finished file over: copied beside its place, renamed into it, and remembered.

A receipt in the cache says which job made a file and what it looked like then. A second run recognises its
own finished work by it, and never overwrites a file that somebody else made or changed.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from infinitetalk_cli.cache.files import write_text_atomic
from infinitetalk_cli.cache.store import Store
from infinitetalk_cli.errors import OutputError, writing_to


class Receipt(BaseModel):
    """What was delivered: the fingerprint of the last stage, and the file as it was left."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fingerprint: str
    size_bytes: int
    mtime_ns: int


def is_delivered(store: Store, output: Path, fingerprint: str) -> bool:
    """Whether `output` is exactly what the job with this fingerprint delivered."""
    receipt = _read_receipt(store, output)
    if receipt is None or receipt.fingerprint != fingerprint or not output.is_file():
        return False
    return _receipt_for(output, fingerprint) == receipt


def check_destination(output: Path, sources: tuple[Path, ...], store: Store, *, force: bool) -> None:
    """Refuse early what could only fail, or do harm, after a night's work.

    An earlier result of ours that nobody has touched may be replaced; anything else needs `force`.

    Raises:
        OutputError: `output` is one of the inputs, a folder, cannot be written, or exists.
    """
    for source in sources:
        if output.exists() and source.exists() and output.samefile(source):
            raise OutputError(f"{output}: the output would overwrite its own input; choose another name with -o")
    if output.is_dir():
        raise OutputError(f"{output}: is a folder; name a file with -o")
    if output.exists() and not force and not _is_untouched_result(store, output):
        raise OutputError(f"{output}: already exists and is not this job's result; add --force to overwrite it")
    _check_writable(output)


def deliver(result: Path, output: Path, fingerprint: str, store: Store) -> None:
    """Put a copy of `result` at `output` in one step, and keep a receipt."""
    partial = output.with_name(f".{output.name}.{os.getpid()}.partial")
    try:
        with writing_to(output):
            shutil.copyfile(result, partial)
            os.replace(partial, output)
    finally:
        partial.unlink(missing_ok=True)
    path = _receipt_path(store, output)
    with writing_to(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text_atomic(path, _receipt_for(output, fingerprint).model_dump_json())


def _check_writable(output: Path) -> None:
    probe = output.with_name(f".{output.name}.{os.getpid()}.partial")
    with writing_to(output):
        output.parent.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()


def _is_untouched_result(store: Store, output: Path) -> bool:
    receipt = _read_receipt(store, output)
    return receipt is not None and _receipt_for(output, receipt.fingerprint) == receipt


def _receipt_for(output: Path, fingerprint: str) -> Receipt:
    stat = output.stat()
    return Receipt(fingerprint=fingerprint, size_bytes=stat.st_size, mtime_ns=stat.st_mtime_ns)


def _receipt_path(store: Store, output: Path) -> Path:
    name = hashlib.sha256(os.fsencode(output.absolute())).hexdigest()[:32]
    return store.root / "receipts" / f"{name}.json"


def _read_receipt(store: Store, output: Path) -> Receipt | None:
    try:
        return Receipt.model_validate_json(_receipt_path(store, output).read_bytes())
    except (OSError, ValidationError):
        return None
