"""A real server on a free port, and one scan in several series."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
import uvicorn
from tests.orthanc import free_port
from tests.serve.monai_label.predicting import PredictingService
from tests.serve.monai_label.series import write_series

from unetr.serve.app import create_app
from unetr.serve.options import ServeOptions
from unetr.serve.safety.guard import guarded

Serve = Callable[..., AbstractContextManager[str]]


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> PredictingService:
    return PredictingService(tmp_path_factory.mktemp("queue"))


@pytest.fixture(scope="session")
def serve(service: PredictingService) -> Serve:
    """serve(**options) -> the address of a server, while the context lasts."""

    @contextmanager
    def serving(**options: object) -> Iterator[str]:
        chosen = ServeOptions(port=free_port(), **options)  # type: ignore[arg-type]
        config = uvicorn.Config(
            guarded(create_app(service, chosen), chosen), host=chosen.host, port=chosen.port, log_level="warning"
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            for _ in range(500):
                if server.started:
                    break
                time.sleep(0.02)
            yield f"http://{chosen.host}:{chosen.port}"
        finally:
            server.should_exit = True
            thread.join(10)

    return serving


@pytest.fixture(scope="session")
def address(serve: Serve) -> Iterator[str]:
    with serve() as found:
        yield found


@pytest.fixture(scope="session")
def all_series(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One scan, of which each series has its slices in another direction."""
    folder = tmp_path_factory.mktemp("series")
    source = shared_data / "dicom" / "hippocampus_crop_T1"
    return {each: write_series(source, folder / each, each) for each in ("axial", "sagittal", "reversed", "flipped")}
