"""A server with its queue that answers at a free port of the loopback while tests run, and small scans for it."""

from __future__ import annotations

import gzip
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import nibabel
import numpy as np

from unetr.queue.service import Service, ServiceOptions
from unetr.serve.options import ServeOptions
from unetr.serve.run import address_of, listen, server_for


@dataclass(frozen=True)
class Served:
    """A running server: a client of it, and the service behind it."""

    client: httpx.Client
    service: Service

    @property
    def incoming(self) -> Path:
        return self.service.folder.incoming

    def upload(self, content: bytes) -> str:
        """The scan's id."""
        answer = self.client.post("/api/scans", content=content)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def submit(self, scan: str, **settings: Any) -> str:
        """The job's id."""
        body = {"scan": scan, "model": "hippocampus", "settings": settings}
        answer = self.client.post("/api/jobs", json=body)
        assert answer.status_code in (200, 201), answer.text
        return str(answer.json()["id"])

    def ended(self, job: str, within_s: float = 60) -> dict[str, Any]:
        """The job, once it has ended."""
        return self.reaches(job, ("written", "delivered", "failed", "cancelled"), within_s)

    def reaches(self, job: str, states: tuple[str, ...], within_s: float = 10) -> dict[str, Any]:
        """The job, once it is in one of these states."""
        deadline = time.monotonic() + within_s
        while True:
            told: dict[str, Any] = self.client.get(f"/api/jobs/{job}").json()
            if told["state"] in states:
                return told
            assert time.monotonic() < deadline, told
            time.sleep(0.05)


@contextmanager
def running(folder: Path, most_waiting: int = 32, **options: Any) -> Iterator[Served]:
    """A server with the hippocampus model. options: of ServeOptions."""
    with Service(folder, ["hippocampus"], ServiceOptions(most_waiting=most_waiting)) as service:
        told = ServeOptions(**{"port": 0} | options)
        with listen(told) as at:
            address, started = address_of(told, at), threading.Event()
            server = server_for(service, told, started.set)
            thread = threading.Thread(target=server.run, args=([at],))
            thread.start()
            try:
                assert started.wait(20)
                with httpx.Client(base_url=address, timeout=60) as client:
                    yield Served(client, service)
            finally:
                server.should_exit = True
                thread.join(20)
                assert not thread.is_alive()


def nifti_scan(seed: int = 0, shape: tuple[int, int, int] = (36, 48, 34)) -> bytes:
    """A small scan that is like none other of another seed: smooth noise, 1 mm."""
    rng = np.random.default_rng(seed)
    coarse = rng.random(tuple(size // 4 + 1 for size in shape))
    data = np.kron(coarse, np.ones((4, 4, 4)))[tuple(slice(size) for size in shape)]
    image = nibabel.Nifti1Image((data * 1000).astype(np.int16), np.eye(4))
    image.header.set_qform(image.affine, 1)
    image.header.set_sform(image.affine, 1)
    return gzip.compress(image.to_bytes(), 1)
