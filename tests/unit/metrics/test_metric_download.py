"""Fetching weight files from a server on this machine: resumed, checked, and every refusal in one sentence."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from infinitetalk_cli.errors import DependencyError, OutputError, ResourceError
from infinitetalk_cli.evaluate.metrics import metric_download
from infinitetalk_cli.evaluate.metrics.metric_download import check_space, fetch, plan_fetches
from infinitetalk_cli.evaluate.metrics.metric_weights import DETECTOR, I3D, RESNET_50
from infinitetalk_cli.progress import SilentProgress

CONTENT = bytes(range(256)) * 20_000


@dataclass
class Server:
    """Files by path, what was asked for, and how it misbehaves."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    requests: list[tuple[str, str | None]] = field(default_factory=list)
    break_after_bytes: int | None = None
    knows_ranges: bool = True


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_args: Any) -> None:
            pass

        def do_GET(self) -> None:
            asked = self.headers.get("Range")
            state.requests.append((self.path, asked))
            content = state.files.get(self.path.split("?")[0])
            if content is None:
                return self.send_error(404)
            start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and state.knows_ranges else 0
            if start >= len(content):
                return self.send_error(416)
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            limit, state.break_after_bytes = state.break_after_bytes, None
            self.wfile.write(content[start:][:limit])
            self.close_connection = True

    served = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=served.serve_forever, daemon=True).start()
    state.url = f"http://127.0.0.1:{served.server_port}"
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    yield state
    served.shutdown()
    served.server_close()


def pull(weights: Path, *names: str) -> list[Path]:
    return [place for plan in plan_fetches(names, [weights]) for place in fetch(plan, SilentProgress())]


def left_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.fixture
def i3d(server: Server, publish) -> str:
    """A published file at an address with a query."""
    server.files["/i3d.pt"] = CONTENT
    publish(I3D, CONTENT, place=False, url=f"{server.url}/i3d.pt?dl=1")
    return I3D


def test_a_file_arrives_once(server: Server, weights: Path, i3d: str) -> None:
    assert [place.read_bytes() for place in pull(weights, i3d)] == [CONTENT]
    assert left_in(weights) == {I3D}
    assert pull(weights, i3d) == [] and server.requests == [("/i3d.pt?dl=1", None)]


def test_a_broken_connection_is_resumed(server: Server, weights: Path, i3d: str) -> None:
    server.break_after_bytes = 3_000_000
    with pytest.raises(DependencyError, match="what has arrived is kept"):
        pull(weights, i3d)
    assert left_in(weights) == {"i3d.pt.part"}
    pull(weights, i3d)
    assert server.requests[1] == ("/i3d.pt?dl=1", "bytes=3000000-")
    assert (weights / I3D).read_bytes() == CONTENT and left_in(weights) == {I3D}


def test_a_server_without_ranges_starts_over(server: Server, weights: Path, i3d: str) -> None:
    server.knows_ranges = False
    (weights / "i3d.pt.part").write_bytes(b"old")
    pull(weights, i3d)
    assert (weights / I3D).read_bytes() == CONTENT


def test_a_file_that_was_whole_is_not_fetched_again(server: Server, weights: Path, i3d: str) -> None:
    (weights / "i3d.pt.part").write_bytes(CONTENT)
    pull(weights, i3d)
    assert (weights / I3D).read_bytes() == CONTENT


def test_another_file_is_refused_and_not_kept(server: Server, weights: Path, i3d: str) -> None:
    server.files["/i3d.pt"] = CONTENT[:-1] + b"!"
    with pytest.raises(DependencyError, match="is not the published"):
        pull(weights, i3d)
    assert left_in(weights) == set()


def test_no_such_file(server: Server, weights: Path, i3d: str) -> None:
    server.files.clear()
    with pytest.raises(DependencyError, match=r"answered 404; get the file by hand"):
        pull(weights, i3d)


def test_no_network(weights: Path, publish) -> None:
    publish(I3D, CONTENT, place=False, url="http://127.0.0.1:9/i3d.pt")
    with pytest.raises(DependencyError, match="cannot be reached"):
        pull(weights, I3D)


@pytest.mark.parametrize("inside", ["", "buffalo_l/"])
def test_two_files_out_of_one_archive(server: Server, weights: Path, publish, inside: str) -> None:
    contents = {DETECTOR: b"detector" * 100, RESNET_50: b"embedder" * 1000, "genderage.onnx": b"not asked for"}
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in contents.items():
            archive.writestr(inside + name, content)
    server.files["/buffalo_l.zip"] = packed.getvalue()
    for name in (DETECTOR, RESNET_50):
        publish(name, contents[name], place=False, url=f"{server.url}/buffalo_l.zip")
    pull(weights, DETECTOR, RESNET_50)
    assert left_in(weights) == {DETECTOR, RESNET_50}
    assert (weights / RESNET_50).read_bytes() == contents[RESNET_50]
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("archive", "message"), [(b"<html>", "no zip archive"), (None, "holds no det_10g.onnx of 8 bytes")]
)
def test_an_archive_that_is_not_the_right_one(server: Server, weights: Path, publish, archive, message: str) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as other:
        other.writestr("det_10g.onnx", b"too long for it")
    server.files["/buffalo_l.zip"] = packed.getvalue() if archive is None else archive
    publish(DETECTOR, b"detector", place=False, url=f"{server.url}/buffalo_l.zip")
    with pytest.raises(DependencyError, match=message):
        pull(weights, DETECTOR)
    assert left_in(weights) == set()


def test_a_folder_that_cannot_be_written(server: Server, tmp_path: Path, i3d: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        pull(tmp_path / "file" / "weights", i3d)


def test_a_disk_that_is_too_small(weights: Path, i3d: str, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("Usage", (), {"free": 10})
    monkeypatch.setattr(metric_download.shutil, "disk_usage", lambda _path: usage)
    with pytest.raises(ResourceError, match="--metrics-dir"):
        check_space(plan_fetches([i3d], [weights]))


def test_pull_list_verify_and_path_on_the_command_line(server: Server, publish, run_command, tmp_path: Path) -> None:
    server.files["/i3d.pt"] = CONTENT
    publish(I3D, CONTENT, place=False, url=f"{server.url}/i3d.pt")
    folder = tmp_path / "of metrics"
    arguments = ("metrics/fvd", "--metrics-dir", folder)
    missing = run_command("models", "path", *arguments)
    assert missing.exit_code == 5 and "models pull metrics/fvd" in missing.stderr
    planned = run_command("models", "pull", *arguments, "--dry-run")
    assert planned.exit_code == 0 and I3D in planned.stderr and not server.requests and not folder.exists()
    pulled = run_command("models", "pull", *arguments, "--json")
    assert pulled.exit_code == 0, pulled.stderr
    (row,) = pulled.document["metrics"]
    assert (row["fetched"], row["complete"], row["sha256"]) == (True, True, hashlib.sha256(CONTENT).hexdigest())
    assert run_command("models", "path", *arguments).stdout.strip() == str(folder / I3D)
    assert run_command("models", "list", *arguments, "--json").document["metrics"][0]["place"] == str(folder / I3D)
    assert run_command("models", "verify", *arguments).exit_code == 0
    (folder / I3D).write_bytes(CONTENT[:-1] + b"!")
    damaged = run_command("models", "verify", *arguments)
    assert damaged.exit_code == 5 and "is not the published" in damaged.stdout
    everything = run_command("models", "list", "--json").document
    assert {row["name"] for row in everything["metrics"]} > {I3D} and everything["models"]
