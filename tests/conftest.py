"""Fixtures for all tests: real scans, malformed scans, small datasets and models, a full disk, the command itself."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import matplotlib.image
import numpy as np
import pytest
from tests.orthanc import Orthanc, running_orthanc

TESTS = Path(__file__).resolve().parent
SHARED_DATA = TESTS.parents[1] / "shared" / "data"
# More processes than this are in each other's way: some tests measure times, others take gigabytes.
MOST_PROCESSES = 2

if "PYTEST_XDIST_WORKER" in os.environ:
    # Before torch is imported: each process has one core, and so have the commands that tests start.
    os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Processes for `-n auto`, which is the default: two for the whole suite, none beside this one for a part of it."""
    whole = config.args_source is pytest.Config.ArgsSource.TESTPATHS
    whole = whole and not (config.option.keyword or config.option.markexpr or config.option.lf)
    return min(MOST_PROCESSES, os.cpu_count() or 1) if whole else 0


@pytest.fixture(autouse=True, scope="session")
def _private_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The compiled networks of tests are not left in the person's own cache folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


def _load(name: str) -> ModuleType:
    """A module of this folder, which is no package."""
    spec = importlib.util.spec_from_file_location(name, TESTS / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real scans beside the project; tests that need it are skipped where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the real scans (../shared/data) are not on this machine")
    return SHARED_DATA


@pytest.fixture(scope="session")
def malformed() -> ModuleType:
    """tests/malformed.py: the generator of scans that must be refused."""
    return _load("malformed")


@pytest.fixture(scope="session")
def datasets() -> ModuleType:
    """tests/datasets.py: small synthetic datasets in each layout."""
    return _load("datasets")


@pytest.fixture
def make_dataset(tmp_path: Path, datasets: ModuleType) -> Callable[..., Path]:
    """make_dataset(layout, cases=6, channels=1, kind="boxes") -> the path that open_dataset takes."""

    def make(layout: str = "decathlon", cases: int = 6, channels: int = 1, kind: str = "boxes") -> Path:
        path: Path = datasets.write_dataset(layout, tmp_path / f"data {layout}", cases, channels, kind)
        return path

    return make


@pytest.fixture(scope="session")
def save_scan(datasets: ModuleType) -> Callable[..., Path]:
    """save_scan(path, data, affine=identity) writes a NIfTI file with nibabel."""
    return datasets.save_scan  # type: ignore[no-any-return]


@pytest.fixture
def edit_json() -> Callable[..., None]:
    """edit_json(path, key=value, ...) replaces keys of a JSON file; the value ... (Ellipsis) removes one."""

    def edit(path: Path, **changes: Any) -> None:
        data = json.loads(path.read_text()) | changes
        path.write_text(json.dumps({key: value for key, value in data.items() if value is not ...}))

    return edit


@pytest.fixture(scope="session")
def dicom_errors() -> Callable[[Path], list[str]]:
    """The errors that dciodvfy (Debian package dicom3tools) finds in a DICOM file."""
    program = shutil.which("dciodvfy")
    if program is None:
        pytest.skip("dciodvfy is not installed: apt-get install dicom3tools")

    def errors(path: Path) -> list[str]:
        done = subprocess.run([program, str(path)], capture_output=True, check=False, timeout=300)
        lines = (done.stdout + done.stderr).decode(errors="replace").splitlines()
        assert lines, "dciodvfy names at least the kind of object"
        return [line for line in lines if line.startswith("Error")]

    return errors


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KB; skipped where mounting is not permitted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, check=False)
    except OSError:
        pytest.skip("there is no mount command")
    if mounted.returncode:
        pytest.skip("mounting a small tmpfs is not permitted")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@dataclass(frozen=True)
class Outcome:
    """How a command ended and what it said."""

    code: int
    out: str
    err: str


@pytest.fixture(scope="session")
def unetr() -> Callable[..., Outcome]:
    """unetr("predict", model, scan, "-o", out) runs the command in this process. Warnings count as what it says."""

    def run(*arguments: object) -> Outcome:
        from unetr.app.cli import main

        out, err, code = io.StringIO(), io.StringIO(), 0
        kept_arguments, kept_hook, kept_format = sys.argv, sys.excepthook, warnings.formatwarning
        kept_handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        sys.argv = ["unetr", *map(str, arguments)]
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), warnings.catch_warnings():
                # As in a process of its own: pytest would collect what a person would see.
                warnings.resetwarnings()
                warnings.simplefilter("ignore", DeprecationWarning)
                warnings.showwarning = lambda *shown: print("WARNING", *shown[:2], file=err)
                main()
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        finally:
            sys.argv, sys.excepthook, warnings.formatwarning = kept_arguments, kept_hook, kept_format
            logging.disable(logging.NOTSET)
            for number, handler in kept_handlers.items():
                signal.signal(number, handler)
            # The command does without it in a process of its own; here others may want it, such as a notebook's widget.
            if sys.modules.get("requests", ...) is None:
                del sys.modules["requests"]
        return Outcome(code, out.getvalue(), err.getvalue())

    return run


@pytest.fixture(scope="session")
def tiny_plan() -> Any:
    """A plan for one channel and a network that is built in milliseconds: background, ball, shell."""
    from unetr.core.plan.schema import ChannelPlan, NetworkPlan, Plan, TrainingPlan

    return Plan(
        dataset="balls",
        channels=(ChannelPlan(name="MRI"),),
        labels={"background": 0, "ball": 1, "shell": 2},
        spacing_mm=(1.0, 1.0, 1.0),
        window=(16, 16, 16),
        network=NetworkPlan(
            preset="test", patch=8, width=16, depth=3, heads=2, mlp_width=32, taps=(1, 2, 3), feature_size=4
        ),
        training=TrainingPlan(batch_size=2),
    )


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory, tiny_plan: Any) -> Path:
    """A model file with fresh weights."""
    from unetr.model.file.model_file import ModelFile, write_model
    from unetr.model.network.build import fresh_weights

    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    weights = fresh_weights(tiny_plan, seed=1)
    write_model(path, ModelFile(tiny_plan, None, {"mean_dice": 0.5}, "CC0", weights))
    return path


@pytest.fixture(scope="session")
def sound_scan(tmp_path_factory: pytest.TempPathFactory, datasets: ModuleType) -> Path:
    """A scan of 20x24x18 voxels on an oblique grid that has nothing wrong with it."""
    sample = datasets.KINDS["balls"].make(50, 1)
    path: Path = datasets.save_scan(tmp_path_factory.mktemp("scan") / "scan.nii.gz", sample.channels[0], sample.affine)
    return path


@pytest.fixture
def decode():
    """PNG bytes -> float array [rows, columns, 4] in 0..1, read by matplotlib."""

    def read(png: bytes) -> np.ndarray:
        pixels = matplotlib.image.imread(io.BytesIO(png), format="png")
        if pixels.shape[2] == 3:
            pixels = np.concatenate([pixels, np.ones((*pixels.shape[:2], 1))], axis=2)
        return pixels

    return read


@pytest.fixture(scope="session")
def maker() -> ModuleType:
    """tests/io/dicom/dicom_maker.py: writes DICOM series."""
    return _load("io/dicom/dicom_maker")


@pytest.fixture(scope="session")
def _lasting_orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    with running_orthanc(tmp_path_factory.mktemp("orthanc")) as running:
        yield running


@pytest.fixture
def orthanc(_lasting_orthanc: Orthanc) -> Orthanc:
    """A real, empty Orthanc that no other test uses now; skipped where there is none on this machine."""
    _lasting_orthanc.empty()
    return _lasting_orthanc
