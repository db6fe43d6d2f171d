"""Commands of unetr, watched from two sides: Python's audit events, and the system calls that strace sees.

The first knows look-ups of names, the second what native code does. Whatever either sees is a finding.
"""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.offline.run_commands import MARK

HERE = Path(__file__).parent
_CALLS = "network,open,openat,openat2,creat,mkdir,mkdirat,rename,renameat,renameat2,unlink,unlinkat,rmdir,link,linkat"
_CALLS += ",symlink,symlinkat,truncate,chmod,fchmodat,stat,newfstatat,statx"
_LINE = re.compile(r"^\d+\s+(?P<call>\w+)\((?P<told>.*)\)\s+= (?P<result>-?\d+)")
_WRITING = re.compile(r"O_WRONLY|O_RDWR|O_CREAT|O_TRUNC|O_APPEND")
_PATH = re.compile(r'(?:(?:AT_FDCWD|\d+)<(?P<folder>[^>]*)>, )?"(?P<name>(?:[^"\\]|\\.)*)"')
# By name alone; "." is the folder itself, to come back to.
_HERE = re.compile(r'AT_FDCWD<[^>]+/home>, "(?!\.")[^/"]')
_SOCKET_FILE = re.compile(r'sun_path="[^"]*"')
# Commands that listen at the loopback, which is what they are for.
LISTENING = ("serve",)
_INTERNET = re.compile(r"AF_INET6?\b")
_LOOPBACK = re.compile(r'inet_addr\("127\.|"::1"')


@dataclass
class Seen:
    """What a command did that it should not. code: its exit code, None where it never ran."""

    code: int | None = None
    sockets: list[str] = field(default_factory=list)
    writes: list[str] = field(default_factory=list)
    programs: list[str] = field(default_factory=list)
    # Files that were looked for by name alone in the current folder, which is the empty home.
    here: list[str] = field(default_factory=list)


def has_strace() -> bool:
    """Whether system calls can be traced here; some containers do not permit it."""
    if shutil.which("strace") is None:
        return False
    return subprocess.run(["strace", "-f", "-o", "/dev/null", "true"], capture_output=True, check=False).returncode == 0


def watched(
    commands: Mapping[str, list[str]], work: Path, home: Path, environment: Mapping[str, str], traced: bool
) -> tuple[dict[str, Seen], str]:
    """Runs commands in one process; by name what each did, and all that they said.

    work: the folder that they may write to, with their inputs. home: their home, in which only the private cache of
    compiled networks may be.
    """
    listed, codes = (work.parent / f"watch.{name}" for name in ("commands", "codes"))
    listed.write_text(json.dumps(commands))
    codes.write_text("{}")
    seen = {name: Seen() for name in ("start", *commands)}
    command = [sys.executable, "-P", str(HERE / "run_commands.py"), str(listed), str(codes)]
    done = _run(command, work, home, environment, traced, seen)
    for name, code in json.loads(codes.read_text()).items():
        seen[name].code = code
    return seen, done.stdout


def watched_torchrun(work: Path, home: Path, traced: bool) -> Seen:
    """A training by two processes, which may talk to each other over the loopback."""
    scripts = Path(sys.executable).parent
    launcher = [scripts / "torchrun", "--nnodes=1", "--nproc-per-node=2", "--master-addr=127.0.0.1", "--no-python"]
    command = [*launcher, scripts / "unetr", "train", work / "data", "-o", work / "team", "--plan", work / "plan.yaml"]
    seen = {"start": Seen()}
    done = _run([*map(str, command), "--steps", "2"], work, home, {"WATCH_LOOPBACK": "1"}, traced, seen)
    seen["start"].code = done.returncode
    return seen["start"]


def _run(
    command: list[str], work: Path, home: Path, extra: Mapping[str, str], traced: bool, seen: dict[str, Seen]
) -> subprocess.CompletedProcess[str]:
    """Runs a command line and adds to `seen` what it did."""
    work, home = work.resolve(), home.resolve()
    log, trace, codes = (work.parent / f"watch.{name}" for name in ("log", "trace", "codes"))
    for path in (log, trace):
        path.write_text("")
    allowed = (work, home / ".cache", log, codes)
    places = {"HOME": str(home), "TMPDIR": str(work / "tmp"), "PYTHONPATH": str(HERE), "OMP_NUM_THREADS": "1"}
    watching = {"WATCH_ALLOWED": os.pathsep.join(map(str, allowed)), "WATCH_LOG": str(log)}
    others = ("XDG_", "MPL", "UV_", "PYTEST", "TORCH", "HF_", "ORT_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(others)}
    (work / "tmp").mkdir(exist_ok=True)
    if traced:
        tracer = ["strace", "-f", "-qq", "-y", "-s", "4096", "--seccomp-bpf", "-e", f"trace={_CALLS}"]
        command = [*tracer, "-o", str(trace), *command]
    done = subprocess.run(
        command,
        env={**kept, **places, **watching, **extra},
        cwd=home,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    _read_log(log.read_text(), seen)
    _read_trace(trace.read_text(errors="replace"), allowed, seen, loopback="WATCH_LOOPBACK" in extra)
    return done


def _read_log(text: str, seen: dict[str, Seen]) -> None:
    name = "start"
    for line in text.splitlines():
        kind, _, told = line.partition(" ")
        what = ast.literal_eval(told)
        if kind == "command":
            name = what
        elif kind == "socket":
            seen[name].sockets.append(what)
        elif kind == "write":
            seen[name].writes.append(what)
        else:
            seen[name].programs.append(what)


def _read_trace(text: str, allowed: tuple[Path, ...], seen: dict[str, Seen], loopback: bool) -> None:
    name = "start"
    for line in text.splitlines():
        if MARK in line:
            name = line.partition(MARK)[2].partition('"')[0]
            continue
        found = _LINE.match(line)
        if found is None or found["call"] in ("stat", "newfstatat", "statx"):
            continue
        call, told = found["call"], found["told"]
        if call.startswith(("send", "recv")) and not _INTERNET.search(told):
            told = "".join(_SOCKET_FILE.findall(told))  # the rest is what is said, which names no file
        if _INTERNET.search(told):
            # A socket by itself goes nowhere; what it is bound or connected to, or sent to, is told apart.
            if not ((loopback or name in LISTENING) and (call == "socket" or _LOOPBACK.search(told))):
                seen[name].sockets.append(f"{call}({told})")
        elif call.startswith("open") and not _WRITING.search(told) and _HERE.match(told):
            seen[name].here.append(told)
        elif int(found["result"]) >= 0 and (not call.startswith(("open", "creat")) or _WRITING.search(told)):
            seen[name].writes += [f"{call} {path}" for path in _outside(told, allowed)]


def _outside(told: str, allowed: tuple[Path, ...]) -> list[str]:
    """The paths of a system call's arguments that are in none of the allowed folders."""
    paths = []
    for match in _PATH.finditer(told):
        path = os.path.realpath(os.path.join(match["folder"] or "", match["name"]))  # noqa: PTH118
        inside = any(path == str(place) or path.startswith(f"{place}{os.sep}") for place in allowed)
        if (
            not inside
            and "__pycache__" not in path
            and not path.startswith(("/dev/null", "/dev/tty", "/dev/shm/sem.", "/proc/self"))
        ):
            paths.append(path)
    return paths
