"""A real server with a real queue on a free port, and one scan in several series."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.serve.monai_label.series import DIRECTIONS, write_series
from tests.serve.monai_label.serving import serving

from unetr.queue.service import Service


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with Service(tmp_path_factory.mktemp("queue") / "queue", ["hippocampus"]) as made:
        yield made


@pytest.fixture(scope="session")
def address(service: Service) -> Iterator[str]:
    with serving(service) as found:
        yield found


@pytest.fixture(scope="session")
def all_series(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One scan, of which each series has its slices in another direction."""
    folder = tmp_path_factory.mktemp("series")
    source = shared_data / "dicom" / "hippocampus_crop_T1"
    return {each: write_series(source, folder / each, each) for each in DIRECTIONS}
