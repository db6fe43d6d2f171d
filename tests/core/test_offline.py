"""Usage events of dependencies are blocked in every way that openvino can be imported through this package."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TELEMETRY = """
import pathlib
def note(what):
    with open({marker!r}, "a") as file:
        file.write(what)
note("imported ")
class Telemetry:
    def __init__(self, *args, **kwargs): note("made ")
    def send_event(self, *args): note("send_event ")
"""


IN_A_CHILD = """
import tempfile, pathlib
from unetr.core.observer import Observer
from unetr.jobs.apart.registry import LOGITS, LogitsRequest
from unetr.jobs.apart.run_apart import run_apart
from unetr.model.shipped import find_model
model, out = find_model(pathlib.Path("hippocampus")), pathlib.Path(tempfile.mkdtemp()) / "logits.npy"
run_apart(LOGITS, LogitsRequest(model=model, engine="openvino", out=out), Observer())
assert out.exists()
"""


@pytest.fixture
def watched(tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """A file that a telemetry package writes to when it is imported or used, and the environment that has it."""
    package, marker = tmp_path / "site" / "openvino_telemetry", tmp_path / "sent"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(TELEMETRY.format(marker=str(marker)))
    (package / "backend.py").write_text("backend_ga4 = None\n")
    return marker, os.environ | {"PYTHONPATH": str(package.parent)}


def test_openvino_alone_would_send(watched: tuple[Path, dict[str, str]]) -> None:
    marker, environment = watched
    subprocess.run([sys.executable, "-c", "import openvino"], env=environment, check=True)
    assert "imported" in marker.read_text() and "send_event" in marker.read_text()


@pytest.mark.fault("usage events")
@pytest.mark.parametrize(
    "code",
    [
        "import unetr; unetr.load('hippocampus')",
        "import unetr.model.graph.openvino.runtime",
        "import unetr, openvino; openvino.convert_model",  # another program's import after ours
        "from unetr.infer.engines.openvino import has_bf16; has_bf16()",
        IN_A_CHILD,
    ],
)
def test_openvino_through_this_package_does_not(code: str, watched: tuple[Path, dict[str, str]]) -> None:
    marker, environment = watched
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    assert not marker.exists()


@pytest.mark.fault("usage events")
def test_the_package_of_usage_events_is_not_installed_here() -> None:
    code = "from importlib.metadata import version; version('openvino-telemetry')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "PackageNotFoundError" in done.stderr
