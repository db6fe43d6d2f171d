"""No command opens an Internet socket, looks a name up or writes outside the folders that it is given.

Every command but `compare` and `demo` is run here, in one process that is watched from two sides.
`benchmarks/offline.py` runs each in a process of its own, these two, peers, a budget in minutes and torchrun as well.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.offline.commands import commands, write_inputs
from tests.offline.watch import Seen, has_strace, watched

from unetr.app.cli import app

SLOW = ("demo", "compare", "profile, peers", "train, minutes", "check, Decathlon", "predict, torch")
NAMES = [name for name in commands(Path()) if name not in SLOW]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Seen]:
    pytest.importorskip("monai")
    root = tmp_path_factory.mktemp("offline")
    work, home = root / "work", root / "home"
    work.mkdir()
    home.mkdir()
    write_inputs(work)
    some = {name: arguments for name, arguments in commands(work).items() if name in NAMES}
    found, said = watched(some, work, home, {}, has_strace())
    assert all(one.code == 0 for name, one in found.items() if name != "start"), (found, said[-3000:])
    assert (work / "out" / "asked.nii.gz").is_file()
    assert not list((work / "tmp").iterdir())
    # Nothing in the home but the private cache of compiled networks.
    folder = home / ".cache" / "unetr" / "compiled"
    assert {path for path in home.rglob("*") if path.parent != folder} == {folder, *folder.parents[:2]}
    return found


def test_every_command_is_watched() -> None:
    assert {words[0] for words in commands(Path()).values()} == {command.name for command in app.registered_commands}


@pytest.mark.fault("network and writes outside")
@pytest.mark.parametrize("name", ["start", *NAMES])
def test_nothing_goes_out(name: str, seen: dict[str, Seen]) -> None:
    assert (seen[name].sockets, seen[name].writes, seen[name].here) == ([], [], [])


@pytest.mark.parametrize(
    ("code", "kind", "word"),
    [
        ("import socket; socket.create_connection(('192.0.2.1', 80), 0.1)", "sockets", "192.0.2.1"),
        ("import socket; socket.getaddrinfo('example.org', 80)", "sockets", "example.org"),
        (
            "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'', ('192.0.2.1', 9))",
            "sockets",
            "192",
        ),
        ("open(HOME + '/file', 'w')", "writes", "file"),
        ("import os; os.mkdir(HOME + '/folder')", "writes", "folder"),
        ("import os; os.rename(WORK + '/a', HOME + '/b')", "writes", "b"),
        ("import os; os.symlink('x', HOME + '/link')", "writes", "link"),
        (
            "import subprocess, sys; subprocess.run([sys.executable, '-c', 'open(%r, \"w\")' % (HOME + '/c')])",
            "writes",
            "c",
        ),
    ],
)
@pytest.mark.parametrize("traced", [False, True], ids=["audit", "strace"])
def test_the_watch_sees(
    code: str, kind: str, word: str, traced: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if traced and not has_strace():
        pytest.skip("system calls cannot be traced here")
    work, home = tmp_path / "work", tmp_path / "home"
    work.mkdir()
    home.mkdir()
    (work / "a").touch()
    names = f"HOME, WORK = {str(home)!r}, {str(work)!r}; "
    found, said = watched({"code": ["python", names + code]}, work, home, {}, traced)
    assert any(word in told for told in getattr(found["code"], kind)), (found, said)


@pytest.mark.fault("network and writes outside")
def test_pictures_need_no_home(tmp_path: Path) -> None:
    """Where there is none, where it is not to be written to, and with a style in the current folder."""
    style = tmp_path / "matplotlibrc"
    code = "import unetr.draw.drawing, matplotlib; print(matplotlib.rcParams['figure.dpi'])"
    for home, text in (("/nowhere", b"figure.dpi: 7\n"), ("/dev/null", b"\xff\xfe\x00no text")):
        style.write_bytes(text)
        environment = {"HOME": home, "PATH": "/usr/bin:/bin", "TMPDIR": str(tmp_path)}
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, cwd=tmp_path, capture_output=True, text=True, check=True
        )
        assert (done.stdout, done.stderr) == ("100.0\n", "")
    assert [path.name for path in tmp_path.iterdir()] == [style.name]
