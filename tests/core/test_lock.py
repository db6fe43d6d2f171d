"""One process at a time: held as long as its process lives, no longer, and no trace left."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.systems import POSIX

from unetr.core.files import lock as lock_module
from unetr.core.files.lock import locked, locked_files, refuse_locked
from unetr.errors import InputError, MachineError

HOLD = """
import sys, time
from pathlib import Path
from unetr.core.files.lock import locked, locked_files
with {call}:
    print("held", flush=True)
    {then}
"""
FOLDER, FILE = "locked(Path(sys.argv[1]))", "locked_files([Path(sys.argv[1])])"

pytestmark = pytest.mark.fault("two processes")


@contextmanager
def holder(path: Path, call: str = FOLDER, then: str = "time.sleep(60)") -> Iterator[subprocess.Popen[str]]:
    """Another process that holds a lock."""
    command = [sys.executable, "-c", HOLD.format(call=call, then=then), str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None and process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


@POSIX
def test_second_process_is_refused_with_folder_and_pid_until_the_first_is_killed(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with holder(folder) as process:
        for enter in (lambda: locked(folder), lambda: locked(tmp_path / "a/../run")):
            (tmp_path / "a").mkdir(exist_ok=True)
            with pytest.raises(InputError, match=f"run: is being written by another process .process {process.pid} on"):
                enter().__enter__()
        with pytest.raises(InputError, match=str(process.pid)):
            refuse_locked(folder)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert [path.name for path in folder.iterdir()] == [".unetr-lock"]  # which nobody holds
    refuse_locked(folder)
    with locked(folder):
        (folder / "result").touch()
    assert [path.name for path in folder.iterdir()] == ["result"]


@POSIX
def test_child_that_outlives_a_killed_process_does_not_hold_its_lock(tmp_path: Path) -> None:
    forks = "import os; pid = os.fork(); print(pid, flush=True) if pid else None; time.sleep(60)"
    with holder(tmp_path, then=forks) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
        process.wait()
        try:
            with locked(tmp_path):
                pass
        finally:
            os.kill(child, signal.SIGKILL)


@pytest.mark.parametrize("other", ["a.nii.gz", "A.NII.GZ"])
def test_same_file_is_refused_and_others_beside_it_are_not(tmp_path: Path, other: str) -> None:
    with holder(tmp_path / "a.nii.gz", FILE):
        with pytest.raises(InputError, match=f"{other}: is being written"), locked_files([tmp_path / other]):
            pass
        with locked_files([tmp_path / "b.nii.gz"]), locked(tmp_path):
            pass
    with locked_files([tmp_path / "e\u0301", tmp_path / "\u00e9"]):  # one name to some file systems
        assert len(list(tmp_path.glob(".unetr-lock-*"))) == 2  # and the killed one's
    with locked_files([tmp_path / "a.nii.gz"]):
        pass
    assert not list(tmp_path.iterdir())


def test_folders_that_were_made_and_stay_empty_are_removed(tmp_path: Path) -> None:
    with locked(tmp_path / "a/b"), locked_files([tmp_path / "c/d/file"]):
        assert (tmp_path / "a/b").is_dir() and (tmp_path / "c/d").is_dir()
    assert not list(tmp_path.iterdir())
    with locked(tmp_path / "a/b"):
        (tmp_path / "a/b/file").touch()
    assert (tmp_path / "a/b/file").exists()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_file_system_without_locks_is_said_and_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(self: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(lock_module.FileLock, "acquire", refuse)
    notes: list[str] = []
    with locked(tmp_path / "run", notes.append):
        (tmp_path / "run/result").touch()
    assert len(notes) == 1 and "run: this file system has no locks" in notes[0]


@pytest.mark.parametrize("kind", ["file", "read-only"])
def test_folder_that_cannot_be_written_is_the_machines_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    if kind == "file":
        (tmp_path / "run").touch()
    else:
        (tmp_path / "run").mkdir()

        def refuse(self: object) -> None:
            raise PermissionError(errno.EACCES, "Permission denied")

        monkeypatch.setattr(lock_module.FileLock, "acquire", refuse)
    with pytest.raises(MachineError, match=r"run.*: cannot be written"):
        locked(tmp_path / "run").__enter__()
