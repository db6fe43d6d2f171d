"""What libraries say reaches nobody who did not ask for it, however they say it; its own words do."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from tests.systems import POSIX

# A command whose libraries talk in every way there is, before and after it speaks itself.
NOISY = """
import ctypes, logging, os, sys, warnings
from unetr.app import cli
from unetr.app.printing import print_json, say
from unetr.app.views.progress import progress
from unetr.errors import InputError

def chatter():
    warnings.simplefilter("always")
    warnings.warn("CHATTER python warning")
    logging.getLogger("lib").warning("CHATTER log")
    handler = logging.StreamHandler()
    logging.getLogger("own").addHandler(handler)
    logging.getLogger("own").error("CHATTER handler")
    print("CHATTER print")
    print("CHATTER print to stderr", file=sys.stderr)
    print("CHATTER first stderr", file=sys.__stderr__, flush=True)
    os.write(1, b"CHATTER native stdout\\n")
    os.write(2, b"CHATTER native stderr\\n")
    library = ctypes.CDLL(None)
    library.puts(b"CHATTER puts"); library.fflush(None)
    os.system("echo CHATTER child; echo CHATTER child >&2")
    import numpy
    numpy.zeros(1) / numpy.zeros(1)
    warnings.warn_explicit("CHATTER of a path", UserWarning, "/somewhere/site-packages/x.py", 1)

def noisy(end: str = "well") -> None:
    chatter()
    say("said")
    with progress() as bar:
        bar.add_task("work", total=1, note="")
        chatter()
        say("said with a bar")
    print_json({"result": 1})
    chatter()
    if end == "refused":
        raise InputError("x: is not y")
    if end == "defect":
        raise ValueError("a defect")

cli.app.command("noisy")(cli._alone(noisy))
cli.main()
"""


def noisy(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", NOISY, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.fault("chatter of libraries")
@pytest.mark.parametrize(("end", "code"), [("well", 0), ("refused", 2), ("defect", 1)])
def test_only_the_commands_own_words(end: str, code: int) -> None:
    done = noisy("noisy", "--end", end)
    assert done.returncode == code
    assert json.loads(done.stdout) == {"result": 1}
    assert "CHATTER" not in done.stderr and "RuntimeWarning" not in done.stderr
    lines = done.stderr.splitlines()
    assert lines[:2] == ["said", "said with a bar"]
    assert {
        "well": lines[2:] == [],
        "refused": lines[2:] == ["unetr: x: is not y"],
        "defect": "ValueError: a defect" in lines,
    }[end]


def test_debug_shows_all() -> None:
    done = noisy("--debug", "noisy")
    for what in ("python warning", "log", "handler", "print to stderr", "first stderr", "native stderr", "of a path"):
        assert f"CHATTER {what}" in done.stderr
    assert "RuntimeWarning" in done.stderr and "CHATTER puts" in done.stdout and "CHATTER native stdout" in done.stdout


@pytest.mark.fault("chatter of libraries")
def test_on_a_terminal_too() -> None:
    """Where the bar is drawn, what is said goes above it."""
    ours, theirs = pty.openpty()
    child = subprocess.Popen([sys.executable, "-c", NOISY, "noisy"], stdout=theirs, stderr=theirs, stdin=theirs)
    os.close(theirs)
    shown = b""
    while True:
        try:
            part = os.read(ours, 4096)
        except OSError:  # Linux's word for the end of a terminal
            break
        if not part:
            break
        shown += part
    assert child.wait() == 0
    assert b"CHATTER" not in shown and b"said with a bar" in shown and b'"result": 1' in shown and b"work" in shown


@POSIX
@pytest.mark.fault("chatter of libraries")
def test_a_reader_that_goes_away() -> None:
    command = f"{sys.executable} -c '{NOISY}' noisy 2>&1 >/dev/full; echo $?"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert "CHATTER" not in done.stdout


@POSIX
@pytest.mark.fault("chatter of libraries")
def test_train_where_srun_is_installed(tmp_path: Path, dataset: Path, edited_plan: Path) -> None:
    srun = tmp_path / "bin" / "srun"
    srun.parent.mkdir()
    srun.write_text("#!/bin/sh\nexit 0\n")
    srun.chmod(0o755)
    environment = os.environ | {"PATH": f"{srun.parent}{os.pathsep}{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    told = ["train", dataset, "--plan", edited_plan, "--steps", "2", "-o"]
    for options, chatty in (([], False), (["--debug"], True)):
        command = [sys.executable, "-P", "-m", "unetr", *options, *told, tmp_path / f"run{chatty}"]
        done = subprocess.run(list(map(str, command)), env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done
        assert ("`srun`" in done.stderr, "site-packages" in done.stderr) == (chatty, chatty), done.stderr
