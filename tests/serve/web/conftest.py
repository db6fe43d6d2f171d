"""One server for all tests of the API."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.serve.running import Served, nifti_scan, running

LIMIT = 2_000_000


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served") / "queue"
    with running(folder, most_waiting=3, most_upload_bytes=LIMIT, most_upload_files=3) as served:
        yield served


@pytest.fixture(scope="session")
def scan() -> bytes:
    return nifti_scan()
