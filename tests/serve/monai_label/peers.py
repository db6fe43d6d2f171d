"""The real clients, which `tools/fetch_clients.py` fetches; tests are skipped where they are absent."""

from __future__ import annotations

import importlib.util
import sys
import warnings
from pathlib import Path
from types import ModuleType

import pytest

PEER = Path(__file__).resolve().parents[3] / ".peers" / "monailabel-0.8.5"
_HOW = "run tools/fetch_clients.py"


def client_module() -> ModuleType:
    """The module of the package monailabel that its client is in, unchanged."""
    path = PEER / "monailabel" / "client" / "client.py"
    if not path.is_file():
        pytest.skip(f"MONAI Label's client is not here: {_HOW}")
    if sys.version_info >= (3, 13):
        pytest.skip("MONAI Label's client needs the module cgi, which Python 3.13 does not have")
    spec = importlib.util.spec_from_file_location("monailabel_client", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        spec.loader.exec_module(module)
    return module


def ohif() -> Path:
    """The OHIF that was built with MONAI Label's plugin."""
    folder = PEER / "monailabel" / "endpoints" / "static" / "ohif"
    if not (folder / "index.html").is_file():
        pytest.skip(f"MONAI Label's OHIF is not here: {_HOW}")
    return folder
