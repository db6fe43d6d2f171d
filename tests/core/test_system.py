"""What differs between operating systems stands in one module; the rest runs where POSIX' own modules are absent."""

from __future__ import annotations

import ast
import ctypes
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel
import numpy as np
import pytest

from unetr.core.files.atomic import write_text
from unetr.core.machine import system, win32

SOURCE = Path(__file__).resolve().parents[2] / "src" / "unetr"
POSIX_ONLY = {"resource", "fcntl", "pwd", "grp", "termios", "pty", "tty", "syslog"}
IN_ONE_PLACE = {"geteuid", "getuid", "wait4", "sched_getaffinity", "O_NOFOLLOW", "O_NONBLOCK", "SIGHUP", "SIGKILL"}
IN_ONE_PLACE |= {"fork", "sysconf", "mkfifo", "SIGUSR1", "SIGBREAK", "getrusage", "O_BINARY", "windll"}
ONLY_POSIX = re.compile(r"signal\.SIGKILL|os\.fork|os\.mkfifo|os\.kill\(|geteuid|/dev/full|\.chmod\(|symlink_to\(")
OTHER_SYSTEM = Path(__file__).with_name("other_system.py")


def trees() -> Iterator[tuple[str, ast.AST]]:
    for path in sorted(SOURCE.rglob("*.py")):
        yield path.relative_to(SOURCE).as_posix(), ast.parse(path.read_text(encoding="utf-8"))


def test_what_only_some_systems_have_is_named_in_one_module() -> None:
    found = set()
    for name, tree in trees():
        for node in ast.walk(tree):
            if _words(node) & (POSIX_ONLY | IN_ONE_PLACE) or any(word.startswith("proc/") for word in _words(node)):
                found.add(name)
    assert found == {"core/machine/system.py", "core/machine/win32.py"}


def _words(node: ast.AST) -> set[str]:
    """Modules, attributes and short strings: what `getattr` or a path may be given."""
    if isinstance(node, ast.Import):
        return {alias.name for alias in node.names}
    if isinstance(node, ast.ImportFrom):
        return {node.module or "", *(alias.name for alias in node.names)}
    if isinstance(node, ast.Attribute):
        return {node.attr}
    return {node.value.lstrip("/")} if isinstance(node, ast.Constant) and isinstance(node.value, str) else set()


def test_every_text_file_is_opened_with_its_encoding() -> None:
    """What a system takes for text by itself differs: it is UTF-8 everywhere."""
    bare = [
        f"{name}:{node.lineno}"
        for name, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and _opens_text(node) and not any(one.arg == "encoding" for one in node.keywords)
    ]
    assert bare == []


def _opens_text(node: ast.Call) -> bool:
    called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    owner = getattr(getattr(node.func, "value", None), "id", "")
    if called in {"read_text", "write_text"}:  # the package's own functions of these names are called by them alone
        return isinstance(node.func, ast.Attribute)
    if called == "fdopen" or (called == "open" and isinstance(node.func, ast.Name)):
        return "b" not in _mode(node, 1)
    return called == "open" and owner in {"path", "log", "temporary", "timing"} and "b" not in _mode(node, 0)


def _mode(node: ast.Call, place: int) -> str:
    given = [one.value for one in node.keywords if one.arg == "mode"] or node.args[place : place + 1]
    return str(getattr(given[0], "value", "")) if given else "r"


def test_tests_of_what_only_posix_has_say_so() -> None:
    """Marks of tests/systems.py, a skip in the module, or a skip in the test."""
    tests = SOURCE.parents[1] / "tests"
    bare = []
    for path in tests.rglob("test_*.py"):
        text = path.read_text(encoding="utf-8")
        if path == Path(__file__) or re.search(r"^pytestmark = (POSIX$|pytest\.mark\.skipif)", text, re.MULTILINE):
            continue
        for node in ast.parse(text).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                code = ast.unparse(node)
                marked = re.search(r"@POSIX|@LINKS|skipif|pytest\.skip\(", code)
                if ONLY_POSIX.search("\n".join(map(ast.unparse, node.body))) and not marked:
                    bare.append(f"{path.relative_to(tests)}:{node.name}")
    assert bare == []


def test_lines_end_alike_on_every_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "linesep", "\r\n")
    write_text(tmp_path / "text", "one\ntwo\r\n")
    assert (tmp_path / "text").read_bytes() == b"one\ntwo\r\n"


def test_the_command_runs_where_posix_is_absent(
    tmp_path: Path, unetr: Callable[..., Any], tiny_model: Path, sound_scan: Path
) -> None:
    """Every module is imported, and a scan gets the labels that it gets here."""
    here, there = tmp_path / "here.nii.gz", tmp_path / "there.nii.gz"
    assert unetr("predict", tiny_model, sound_scan, "-o", here, "--engine", "openvino").code == 0
    command = [sys.executable, OTHER_SYSTEM, "predict", tiny_model, sound_scan, "-o", there, "--engine", "openvino"]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    assert np.array_equal(nibabel.load(here).get_fdata(), nibabel.load(there).get_fdata())


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Windows' calls, which fill in made-up figures; returns the handles that were asked about."""
    asked: list[int] = []

    def status(pointer: Any) -> int:
        assert pointer._obj.length == 64
        pointer._obj.available = 7 * 10**9
        return 1

    def memory(handle: Any, pointer: Any, size: int) -> int:
        asked.append(handle.value)
        assert size == ctypes.sizeof(win32.ProcessMemory)
        pointer._obj.resident, pointer._obj.peak_resident = 3 * 10**8, 5 * 10**8
        return 1

    calls = SimpleNamespace(GlobalMemoryStatusEx=status, K32GetProcessMemoryInfo=memory, GetCurrentProcess=Current())
    monkeypatch.setattr(ctypes, "windll", SimpleNamespace(kernel32=calls), raising=False)
    monkeypatch.setattr(system.sys, "platform", "win32")
    return asked


class Current:
    restype: Any = None

    def __call__(self) -> int:
        return 11


def test_windows_says_how_much_memory_there_is(kernel: list[int]) -> None:
    assert system.available_bytes() == 7 * 10**9
    assert (system.resident_bytes(), system.peak_bytes()) == (3 * 10**8, 5 * 10**8)
    assert kernel == [11, 11]


def test_windows_says_what_a_child_had(kernel: list[int]) -> None:
    child: Any = SimpleNamespace(poll=lambda: 3, _handle=23)
    assert system.ended(child) == (3, 5 * 10**8)
    assert kernel == [23]


def test_the_sizes_of_windows_structures() -> None:
    """As in its headers, with pointers of 64 bits."""
    assert ctypes.sizeof(win32.MemoryStatus) == 64
    assert ctypes.sizeof(win32.ProcessMemory) == 72


@pytest.mark.skipif(sys.platform == "win32", reason="the child is asked through Windows' calls there")
def test_a_childs_peak_is_what_it_took() -> None:
    """Asked by a small process: Linux counts what the parent had when it was copied to start the child."""
    asks = (
        "import subprocess, sys; from unetr.core.machine.system import ended\n"
        "child = subprocess.Popen([sys.executable, '-c', 'bytearray(300_000_000); raise SystemExit(3)'])\n"
        "while (found := ended(child)) is None: pass\n"
        "print(found[1], found[0])"
    )
    said = subprocess.run([sys.executable, "-c", asks], capture_output=True, text=True, check=True).stdout
    peak, code = map(int, said.split())
    assert code == 3 and 3e8 < peak < 4e8


def test_without_windows_calls_nothing_is_said() -> None:
    assert win32.available_bytes() is None and win32.process_memory() is None
