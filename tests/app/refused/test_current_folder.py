"""No code from the folder that a person happens to be in is run: not by a command, nor by a process that it starts."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from unetr.core.machine.child import child_environment, python_module
from unetr.core.observer import Observer
from unetr.jobs.apart.registry import LOGITS, LogitsRequest
from unetr.jobs.apart.run_apart import run_apart

Command = Callable[..., Any]
SCRIPT = Path(sys.executable).with_name("unetr")
# What unetr and its libraries import: of Python, of others, its own; early, late, and in the children.
MODULES = ["__future__", "typing", "dataclasses", "yaml", "numpy", "torch", "openvino", "onnx", "typer", "safetensors"]


@pytest.fixture
def planted(tmp_path: Path) -> Path:
    """A folder of modules that each leave a file `ran` behind. unetr.py too: see `without_unetr`."""
    folder = tmp_path / "planted"
    folder.mkdir()
    for name in [*MODULES, "unetr", "sitecustomize"]:
        (folder / f"{name}.py").write_text(f"open({str(folder / 'ran')!r}, 'a').write({name!r})\n")
    return folder


@pytest.fixture
def without_unetr(planted: Path) -> Path:
    """The same without unetr.py: `python -m unetr` is Python's to find, and takes it for what was asked."""
    (planted / "unetr.py").unlink()
    return planted


def ran(command: list[Any], folder: Path, **options: Any) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([*map(str, command)], cwd=folder, capture_output=True, text=True, check=False, **options)
    assert not (folder / "ran").exists(), ((folder / "ran").read_text(), done)
    return done


def test_the_planted_modules_would_run(planted: Path) -> None:
    subprocess.run([sys.executable, "-c", "import yaml"], cwd=planted, check=True)
    assert (planted / "ran").read_text() == "yaml"


@pytest.mark.fault("code from the current folder")
def test_export_and_the_process_that_checks_it(planted: Path, tiny_model: Path) -> None:
    done = ran([SCRIPT, "export", tiny_model, "--to", "openvino", "-o", planted / "out.xml"], planted)
    assert done.returncode == 0, done
    assert "in a fresh process" in done.stderr


@pytest.mark.fault("code from the current folder")
def test_the_processes_of_jobs(planted: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(planted)
    # Empty, an empty entry, and one that says the same.
    for path in ("", ":", "/nowhere:", ".", "./"):
        monkeypatch.setenv("PYTHONPATH", path)
        out = planted / f"logits{len(path)}.npy"
        run_apart(LOGITS, LogitsRequest(model=tiny_model, engine="openvino", out=out), Observer())
        assert out.exists()
    assert not (planted / "ran").exists()


@pytest.mark.fault("code from the current folder")
@pytest.mark.parametrize("how", [["-m", "unetr"], ["-um", "unetr"], ["-munetr"], ["-P", "-m", "unetr"]])
def test_python_m_unetr(without_unetr: Path, how: list[str], dataset: Path) -> None:
    done = ran([sys.executable, *how, "models"], without_unetr)
    assert done.returncode == 0 and "hippocampus" in done.stdout, done


@pytest.mark.fault("code from the current folder")
def test_a_module_of_unetr_started_by_another_program(without_unetr: Path, tiny_model: Path) -> None:
    out = without_unetr / "logits.npy"
    asked = {"model": str(tiny_model), "engine": "openvino", "out": str(out)}
    (without_unetr / "request.json").write_text(json.dumps({"job": "logits", "request": asked}))
    done = ran([sys.executable, "-m", "unetr.jobs.apart", without_unetr], without_unetr)
    assert done.returncode == 0 and out.exists(), done


@pytest.fixture
def planted_library(tmp_path: Path) -> Path:
    """A folder with a library under a name that a library of torch looks for: any will do, to be seen in memory."""
    origin = find_spec("_socket").origin  # type: ignore[union-attr]
    if sys.platform != "linux" or origin is None or not origin.endswith(".so"):
        pytest.skip("needs Linux and an extension module in a file")
    shutil.copy(origin, tmp_path / "libcuda.so.1")
    return tmp_path


def _in_memory(code: str, folder: Path) -> bool:
    code += "; print(open('/proc/self/maps').read())"
    command = [sys.executable, "-P", "-c", code]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return str(folder / "libcuda.so.1") in done.stdout


def test_torch_alone_would_load_the_library(planted_library: Path) -> None:
    if not _in_memory("import torch", planted_library):
        pytest.skip("this torch does not look into the current folder")


@pytest.mark.fault("code from the current folder")
@pytest.mark.parametrize("code", ["import unetr, torch", "import unetr.app.cli, unetr.train.loop"])
def test_no_library_of_the_current_folder_is_loaded(code: str, planted_library: Path) -> None:
    assert not _in_memory(f"{code}, os; assert os.getcwd() == {str(planted_library)!r}", planted_library)


def test_the_path_of_another_program_is_left_alone(tmp_path: Path) -> None:
    package = tmp_path / "mine"
    package.mkdir()
    (package / "__init__.py").write_text("import unetr\n")
    (package / "__main__.py").write_text("import beside\nprint(beside.WORD)\n")
    (tmp_path / "beside.py").write_text("WORD = 'found'\n")
    done = subprocess.run([sys.executable, "-m", "mine", "x"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "found\n"


def test_children_keep_the_rest_of_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PYTHONPATH", f":{tmp_path}:rel")
    monkeypatch.setenv("OTHER", "kept")
    found = child_environment()
    assert found["PYTHONPATH"] == str(tmp_path) and found["OTHER"] == "kept" and found["PYTHONSAFEPATH"] == "1"
    assert python_module("unetr", "check", tmp_path)[1:] == ["-P", "-m", "unetr", "check", str(tmp_path)]
