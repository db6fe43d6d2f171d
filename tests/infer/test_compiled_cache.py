"""The cache of compiled networks: used again, trusted only where it is the user's own, and never in the way."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.infer import planted

from unetr.infer.engines import choose_engine, compiled_cache, make_engine
from unetr.infer.engines.compiled_cache import read_compiled, write_compiled
from unetr.model.file.model_file import ModelFile, read_model, write_model
from unetr.model.open_model import open_model

WINDOWS = np.random.default_rng(0).normal(size=(1, 1, 16, 16, 16)).astype(np.float32)
KEY = "ab" * 32
Logits = Callable[[], np.ndarray]

pytestmark = pytest.mark.skipif(os.name != "posix", reason="owners and modes are POSIX's")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    return folder


@pytest.fixture
def folder(home: Path) -> Path:
    """Where compiled networks are kept on Linux."""
    return home / ".cache" / "unetr" / "compiled"


@pytest.fixture
def model(tmp_path: Path, tiny_model: Path) -> Path:
    """A model file in a folder of its own."""
    (tmp_path / "models").mkdir()
    return Path(shutil.copy(tiny_model, tmp_path / "models" / "model.safetensors"))


@pytest.fixture
def logits(model: Path) -> Logits:
    """What OpenVINO makes of a window, in an engine that is new."""

    def run() -> np.ndarray:
        opened = open_model(model)
        return np.array(make_engine(opened, choose_engine(opened, "openvino", "cpu", "fp32"))(WINDOWS))

    return run


def changed(model: Path) -> None:
    """The same model with other weights, under the same name."""
    found = read_model(model)
    weights = {name: np.asarray(array) * np.float32(1.5) for name, array in found.weights.items()}
    write_model(model, ModelFile(found.plan, None, {}, "CC0", weights))


def blobs(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.compiled")) if folder.is_dir() else []


def test_it_is_used_again_and_is_private(logits: Logits, model: Path, folder: Path) -> None:
    first = logits()
    (blob,) = blobs(folder)
    written = blob.stat().st_ino
    np.testing.assert_array_equal(logits(), first)
    assert blob.stat().st_ino == written
    assert [stat.S_IMODE(path.stat().st_mode) for path in (folder, folder.parent)] == [0o700, 0o700]
    assert list(model.parent.iterdir()) == [model]
    changed(model)
    assert np.abs(logits() - first).max() > 1e-3
    assert len(blobs(folder)) == 2


@pytest.mark.fault("planted compiled network")
def test_nothing_beside_the_model_is_read(logits: Logits, model: Path, folder: Path) -> None:
    first = logits()
    changed(model)
    right = logits()
    # The blob of the first weights under every name that this or an older version might look for.
    old, new = sorted(blobs(folder), key=lambda path: path.stat().st_mtime_ns)
    for name in (f".model.{new.stem[:32]}.compiled", new.name):
        shutil.copy(old, model.with_name(name))
    shutil.rmtree(folder)
    np.testing.assert_array_equal(logits(), right)
    assert np.abs(right - first).max() > 1e-3


DAMAGES = [
    planted.renamed,
    planted.resealed_for_another_key,
    planted.resealed_without_key,
    planted.flipped,
    planted.cut,
    planted.empty,
    planted.folder_in_its_place,
    planted.pipe_in_its_place,
    planted.linked,
    planted.hard_linked,
    planted.writable_by_others,
    planted.folder_writable_by_others,
    planted.folder_a_link,
    planted.outer_folder_a_link,
    planted.other_owner,
    planted.folder_of_another_owner,
]


@pytest.mark.fault("planted compiled network")
@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_what_is_not_ours_is_not_loaded(
    damage: Callable[[Path, Path], None], logits: Logits, folder: Path, model: Path
) -> None:
    first = logits()
    (old,) = blobs(folder)
    changed(model)
    right = logits()
    (new,) = set(blobs(folder)) - {old}
    assert np.abs(right - first).max() > 1e-3
    damage(old, new)
    for _ in range(2):
        np.testing.assert_array_equal(logits(), right)


def test_what_would_be_planted_would_be_loaded_if_it_were_ours(logits: Logits, folder: Path, model: Path) -> None:
    """So that the test above shows something."""
    first = logits()
    (old,) = blobs(folder)
    changed(model)
    logits()
    (new,) = set(blobs(folder)) - {old}
    planted.for_this_key(old, new, new.stem)
    np.testing.assert_array_equal(logits(), first)


@pytest.mark.fault("cache that cannot be had")
@pytest.mark.parametrize("trouble", ["file", "missing", "relative", "null", "read-only", "full", "another's"])
def test_trouble_is_never_fatal(
    trouble: str, tmp_path: Path, model: Path, tiny_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in ("HOME", "XDG_CACHE_HOME")}
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    environment["HOME"] = {
        "file": str(tmp_path / "file"),
        "missing": str(tmp_path / "not" / "there"),
        "relative": "home",
        "null": "/dev/null",
    }.get(trouble, str(tiny_disk))
    if trouble == "full":
        (tiny_disk / "fill").write_bytes(bytes(56_000))
    if trouble == "another's":
        os.chown(tiny_disk, 12345, 12345)
    if trouble == "read-only":
        subprocess.run(["mount", "-o", "remount,ro", str(tiny_disk)], check=True)
    code = f"import unetr; s = unetr.load({str(model)!r}, engine='openvino', precision='fp32'); print('loaded')"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "loaded\n", "")
    assert (
        not list(tiny_disk.rglob("*.unetr*")) and not (tmp_path / "home").exists() and not (tmp_path / "not").exists()
    )
    if trouble == "another's":
        assert not list(tiny_disk.iterdir())


def test_the_oldest_goes_and_what_kills_left(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled_cache, "LIMIT_BYTES", 5000)
    keys = [f"{number:064x}" for number in range(5)]
    for number, key in enumerate(keys[:4]):
        write_compiled(key, bytes(1000))
        os.utime(folder / f"{key}.compiled", (number, number))
    leftovers = [folder / f".unetr-{number:012x}.compiled" for number in range(2)]
    for leftover in leftovers:
        leftover.write_bytes(bytes(10))
    os.utime(leftovers[0], (0, time.time() - 7200))
    assert read_compiled(keys[0]) is not None  # used last now
    write_compiled(keys[4], bytes(2000))
    assert [path.stem for path in blobs(folder) if path.name[0] != "."] == [keys[0], keys[3], keys[4]]
    assert [path.exists() for path in leftovers] == [False, True]  # the other may still be being written
    write_compiled(KEY, bytes(6000))  # larger than all that there may be
    assert read_compiled(KEY) is None and read_compiled(keys[4]) is not None


def test_one_that_is_replaced_while_it_is_opened(folder: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file that was opened has no name any more, and is read all the same."""
    write_compiled(KEY, b"old")
    opened = os.open

    def replaced_then(path: str, flags: int, *rest: int, **more: int) -> int:
        handle = opened(path, flags, *rest, **more)
        monkeypatch.setattr(os, "open", opened)
        write_compiled(KEY, b"new")
        return handle

    monkeypatch.setattr(os, "open", replaced_then)
    found = read_compiled(KEY)
    assert found is not None and bytes(found) == b"old"
    assert bytes(read_compiled(KEY)) == b"new"


def test_processes_at_the_same_time(folder: Path, home: Path) -> None:
    code = (
        "from unetr.infer.engines.compiled_cache import read_compiled, write_compiled\n"
        "for number in range(40):\n"
        f"    write_compiled({KEY!r}, bytes(range(256)) * 50)\n"
        f"    found = read_compiled({KEY!r})\n"
        "    assert found is not None and bytes(found) == bytes(range(256)) * 50\n"
    )
    running = [subprocess.Popen([sys.executable, "-c", code], env=dict(os.environ)) for _ in range(3)]
    assert [process.wait() for process in running] == [0, 0, 0]
    assert len(list(folder.iterdir())) == 1
