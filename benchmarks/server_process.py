"""`unetr serve` as a process of its own for benchmarks: started, asked, measured, killed."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import nibabel
import numpy as np

ENDED = ("written", "delivered", "failed", "cancelled")


@dataclass
class Server:
    """A running server."""

    process: subprocess.Popen[str]
    client: httpx.Client

    def upload(self, content: bytes) -> str:
        """The scan's id."""
        answer = self.client.post("/api/scans", content=content)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def submit(self, scan: str, **settings: Any) -> httpx.Response:
        return self.client.post("/api/jobs", json={"scan": scan, "model": "hippocampus", "settings": settings})

    def events(self, job: str) -> list[str]:
        """The lines of its events, once they have ended."""
        with self.client.stream("GET", f"/api/jobs/{job}/events") as answer:
            return list(answer.iter_lines())

    def ended(self, job: str, within_s: float = 300) -> dict[str, Any]:
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            told: dict[str, Any] = self.client.get(f"/api/jobs/{job}").json()
            if told.get("state") in ENDED:
                return told
            time.sleep(0.05)
        raise TimeoutError(job)

    def memory_mb(self, what: str = "VmRSS") -> dict[str, float]:
        """Of the web process and each of its children, in 10^6 bytes. what: VmRSS now, VmHWM at the most."""
        found = {"web": _memory(self.process.pid, what)}
        for number, child in enumerate(children(self.process.pid)):
            found[f"child {number + 1}"] = _memory(child, what)
        return found

    def forget_peak(self) -> None:
        """From now on, the most of the web process counts from what it has now."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")


@contextmanager
def running(folder: Path, *options: str) -> Iterator[Server]:
    """A server of this folder. At the end, it and its children are gone."""
    command = [sys.executable, "-m", "unetr", "serve", "--port", "0", "--folder", str(folder), *options]
    with open(folder.with_suffix(".log"), "a") as log:  # noqa: PTH123
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
    assert process.stdout is not None
    try:
        address = process.stdout.readline().strip()
        assert address, folder.with_suffix(".log").read_text()[-2000:]
        with httpx.Client(base_url=address, timeout=120) as client:
            yield Server(process, client)
    finally:
        others = children(process.pid)
        if process.poll() is None:
            process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        await_end(others)


def children(process: int) -> list[int]:
    with suppress(OSError):
        return [int(one) for one in Path(f"/proc/{process}/task/{process}/children").read_text().split()] + [
            int(one)
            for task in Path(f"/proc/{process}/task").iterdir()
            if task.name != str(process)
            for one in (task / "children").read_text().split()
        ]
    return []


def await_end(processes: list[int], within_s: float = 20) -> None:
    deadline = time.monotonic() + within_s
    while left := [one for one in processes if _is_alive(one)]:
        assert time.monotonic() < deadline, f"still there: {left}"
        time.sleep(0.05)


def _is_alive(process: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return False


def _memory(process: int, what: str) -> float:
    with suppress(OSError):
        for line in Path(f"/proc/{process}/status").read_text().splitlines():
            if line.startswith(what):
                return int(line.split()[1]) * 1024 / 1e6
    return 0.0


def scan_bytes(seed: int, shape: tuple[int, int, int] = (36, 48, 34)) -> bytes:
    """A gzipped NIfTI that is like none of another seed."""
    rng = np.random.default_rng(seed)
    coarse = rng.random(tuple(size // 4 + 1 for size in shape))
    data = np.kron(coarse, np.ones((4, 4, 4)))[tuple(slice(size) for size in shape)]
    return gzip.compress(nifti((data * 1000).astype(np.int16)), 1)


def nifti(data: np.ndarray) -> bytes:
    image = nibabel.Nifti1Image(data, np.eye(4))
    image.header.set_qform(image.affine, 1)
    image.header.set_sform(image.affine, 1)
    return bytes(image.to_bytes())


def machine() -> str:
    """For the head of a table: how busy this machine is with other work."""
    return f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before the start"
