"""A server with a real queue behind it, and DICOM whose patient has a name that can be searched for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from tests.io.dicom import dicom_maker
from tests.serve.running import Served, running


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with running(tmp_path_factory.mktemp("serve") / "queue") as served:
        yield served


def facts_of(served: Served, files: dict[str, bytes]) -> httpx.Response:
    """What the server says of these files: the answer to their upload, if that refuses them, or to reading them."""
    sent = served.client.post("/api/scans", files=[("files", pair) for pair in files.items()])
    return sent if sent.status_code >= 300 else served.client.get(f"/api/scans/{sent.json()['id']}")


def series(folder: Path, voxels: np.ndarray | None = None, **attributes: object) -> dict[str, bytes]:
    """A sound series by file name."""
    if voxels is None:
        voxels = np.random.default_rng(0).integers(0, 99, (8, 7, 4)).astype(np.int16)
    dicom_maker.write_series(folder, voxels, **attributes)
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
