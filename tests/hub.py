"""A Hugging Face hub on this machine, as far as downloads need it: repository listings, files, ranges, refusals."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import unquote, urlparse

import pytest

LARGE_SUFFIXES = (".safetensors", ".pth", ".bin")
"""Files of these kinds are kept under their SHA-256, as the hub does with large ones."""


@dataclass
class FakeRepo:
    """One commit of a repository; `refuse` is an error code of the hub ("GatedRepo") for its files."""

    commit: str
    files: dict[str, bytes]
    refuse: str | None = None


@dataclass
class FakeHub:
    """Repositories by name, and what was asked for."""

    repos: dict[str, FakeRepo] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    sent_bytes: int = 0
    break_after_bytes: int | None = None

    def add_folder(self, repo: str, folder: Path, commit: str) -> FakeRepo:
        """Publish the files of `folder`."""
        files = {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
        self.repos[repo] = FakeRepo(commit, files)
        return self.repos[repo]


@contextmanager
def serve(monkeypatch: pytest.MonkeyPatch, cache: Path) -> Iterator[FakeHub]:
    """A hub that huggingface_hub talks to instead of the real one, with a cache of its own."""
    from huggingface_hub import constants

    hub = FakeHub()
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    Thread(target=server.serve_forever, daemon=True).start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", endpoint + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    hub: FakeHub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_args: Any) -> None:
        pass

    def do_GET(self) -> None:
        path = unquote(urlparse(self.path).path)
        self.hub.requests.append(f"{self.command} {path}")
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/(revision|tree)/([^/]+)(?:/.*)?", path):
            self._describe(match[1], match[2])
        elif match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            self._file(match[1], match[3])
        else:
            self._refuse(404, "EntryNotFound")

    do_HEAD = do_GET

    def _describe(self, name: str, what: str) -> None:
        repo = self.hub.repos.get(name)
        if repo is None:
            return self._refuse(404, "RepoNotFound")
        if what == "revision":
            siblings = [{"rfilename": path, **_facts(path, data)} for path, data in repo.files.items()]
            return self._json({"id": name, "sha": repo.commit, "siblings": siblings})
        entries = []
        for path, data in repo.files.items():
            facts = _facts(path, data)
            if "lfs" in facts:
                facts["lfs"] = {**facts["lfs"], "oid": facts["lfs"]["sha256"]}
            entries.append({"type": "file", "path": path, "oid": facts.pop("blobId"), **facts})
        self._json(entries)

    def _file(self, name: str, path: str) -> None:
        repo = self.hub.repos.get(name)
        if repo is None or path not in repo.files:
            return self._refuse(404, "RepoNotFound" if repo is None else "EntryNotFound")
        if repo.refuse is not None:
            return self._refuse(403, repo.refuse)
        data = repo.files[path]
        start = 0
        if match := re.fullmatch(r"bytes=(\d+)-.*", self.headers.get("Range", "")):
            start = int(match[1])
        facts = _facts(path, data)
        self.send_response(206 if start else 200)
        self.send_header("ETag", f'"{facts["lfs"]["sha256"] if "lfs" in facts else facts["blobId"]}"')
        self.send_header("X-Repo-Commit", repo.commit)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(data) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.end_headers()
        if self.command == "GET":
            self._send(data[start:])

    def _send(self, data: bytes) -> None:
        limit = self.hub.break_after_bytes
        if limit is not None and len(data) > limit:
            self.hub.break_after_bytes = None
            self.wfile.write(data[:limit])
            self.hub.sent_bytes += limit
            self.close_connection = True
            self.connection.close()
            return
        self.wfile.write(data)
        self.hub.sent_bytes += len(data)

    def _json(self, document: Any) -> None:
        body = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _refuse(self, status: int, code: str) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("X-Error-Message", code)
        self.send_header("Content-Length", "0")
        self.end_headers()


def _facts(path: str, data: bytes) -> dict[str, Any]:
    facts: dict[str, Any] = {"size": len(data), "blobId": hashlib.sha1(data).hexdigest()}
    if path.endswith(LARGE_SUFFIXES):
        facts["lfs"] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 135}
    return facts
