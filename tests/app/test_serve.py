"""`unetr serve` as a process: what it prints, how it ends, what it refuses, and what a restart finds again."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.serve.running import nifti_scan

NAME = "Mueller^Anna"
Command = Callable[..., Any]


@dataclass
class Started:
    process: subprocess.Popen[str]
    client: httpx.Client
    said: str = ""

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        _, self.said = self.process.communicate(timeout=30)
        return self.process.returncode


@contextmanager
def started(folder: Path, *options: str) -> Iterator[Started]:
    command = [sys.executable, "-m", "unetr", "serve", "--port", "0", "--folder", str(folder), *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        assert address, process.communicate()[1]
        with httpx.Client(base_url=address, timeout=30) as client:
            yield Started(process, client)
    finally:
        process.kill()
        process.wait()


def submitted(server: Started, scan: bytes, **settings: bool) -> str:
    """The job's id."""
    kept = server.client.post("/api/scans", files={"files": (f"{NAME}.nii.gz", scan)}).json()["id"]
    told = {"scan": kept, "model": "hippocampus", "settings": settings}
    return str(server.client.post("/api/jobs", json=told).json()["id"])


def test_it_serves_and_logs_without_names_and_finds_its_jobs_again(
    tmp_path: Path, unetr: Command, assert_refused: Callable[..., None]
) -> None:
    folder = tmp_path / "queue"
    with started(folder, "--model", "hippocampus") as server:
        assert server.client.base_url.host == "127.0.0.1"
        job = submitted(server, nifti_scan())
        server.client.get(f"/{NAME}", params={"name": NAME}, headers={"X-Name": NAME})
        server.client.get(f"/api/jobs/{NAME}")
        with server.client.stream("GET", f"/api/jobs/{job}/events") as events:
            assert "event: end" in list(events.iter_lines())
        assert_refused(unetr("serve", "--port", 0, "--folder", folder), 2, "queue")  # one folder has one server
        assert server.end(signal.SIGTERM) == 143
        assert "POST /api/scans 201 " in server.said
        assert "GET /api/jobs/{job} 422 " in server.said
        assert NAME not in server.said
        assert "Traceback" not in server.said
    with started(folder, "--model", "hippocampus") as server:
        assert server.client.get(f"/api/jobs/{job}").json()["state"] == "written"
        assert server.client.get(f"/api/jobs/{job}/results/labels").status_code == 200
        long = submitted(server, nifti_scan(3, (128, 128, 128)), tta=True)
        with server.client.stream("GET", f"/api/jobs/{long}/events") as events:
            next(events.iter_lines())
            assert server.end(signal.SIGINT) == 130  # open streams do not keep it from ending
    kept = [path for path in folder.rglob("*") if path.is_file()]
    assert not [path for path in kept if NAME in str(path) or NAME.encode() in path.read_bytes()]


def test_a_port_has_one_server(tmp_path: Path, unetr: Command, assert_refused: Callable[..., None]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert_refused(unetr("serve", "--port", port, "--folder", tmp_path / "queue"), 2, "give another --port")
    assert not (tmp_path / "queue").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--host", "0.0.0.0"], "unetr serve --new-token NAME makes one"),
        (["--model", "no such model"], "no such model"),
        (["--max-upload", "many"], "--max-upload many: is not understood"),
        (["--tls-cert", "cert.pem"], "give --tls-cert and --tls-key"),
        (["--host", "192.0.2.1"], "can be reached by others"),
        (["--end-token", "nobody"], "is the name of no token"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    options: list[str], words: str, tmp_path: Path, unetr: Command, assert_refused: Callable[..., None]
) -> None:
    assert_refused(unetr("serve", "--port", 0, "--folder", tmp_path / "queue", *options), 2, words)


def test_without_its_packages_it_says_what_to_install(
    tmp_path: Path, unetr: Command, assert_refused: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith("unetr.serve")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    outcome = unetr("serve", "--port", 0, "--folder", tmp_path / "queue")
    assert_refused(outcome, 4, "pip install 'unetr[serve]'")


def test_a_token_is_shown_once_and_opens(tmp_path: Path, unetr: Command) -> None:
    made = unetr("serve", "--folder", tmp_path / "queue", "--new-token", "alice")
    assert made.code == 0
    token = made.out.strip()
    assert token not in "".join(path.read_text() for path in (tmp_path / "queue").rglob("*") if path.is_file())
    with started(tmp_path / "queue") as server:
        assert server.client.get("/api/models").status_code == 401
        assert server.client.get("/api/models", headers={"Authorization": f"Bearer {token}"}).status_code == 200
        assert server.client.get("/healthz").status_code == 200
        assert unetr("serve", "--folder", tmp_path / "queue", "--end-token", "alice").code == 0
        assert server.client.get("/api/models", headers={"Authorization": f"Bearer {token}"}).status_code == 401
