"""What commands do at a terminal, in a pipe, and when a signal comes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Command = Callable[..., Any]


def test_quiet_when_piped(unetr: Command, dataset: Path, tiny_model: Path, run: Path, tmp_path: Path) -> None:
    label = dataset / "labels/case_00.nii.gz"
    for arguments in (
        ["check", dataset],
        ["plan", dataset, "-o", tmp_path / "planned"],
        ["predict", tiny_model, dataset / "images", "-o", tmp_path / "out"],
        ["evaluate", label, label, "-o", tmp_path / "scores"],
        ["report", run],
        ["info", tiny_model],
    ):
        outcome = unetr(*arguments)
        assert outcome.code == 0, outcome
        assert not set("\x1b\r━") & set(outcome.err + outcome.out), outcome
        assert outcome.err.count("\n") <= 1, outcome
        assert not any(line.endswith(" ") for line in outcome.out.splitlines())


def test_a_training_says_only_what_it_should(finished_run: Path) -> None:
    """No announcements and warnings of libraries."""
    lines = (finished_run.parent / "said.txt").read_text().splitlines()
    assert [line for line in lines if not line.startswith(("step ", "model: "))] == []
    assert len(lines) == 6  # five validations and the model


def test_progress_on_a_terminal(dataset: Path) -> None:
    pty = pytest.importorskip("pty")
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "unetr", "check", str(dataset)],
        stdout=subprocess.DEVNULL,
        stderr=slave,
        env=os.environ | {"TERM": "xterm", "COLUMNS": "100"},
    )
    os.close(slave)
    shown = b""
    while True:
        try:
            chunk = os.read(master, 4096)
        except OSError:  # how Linux says that the other end is closed
            break
        if not chunk:
            break
        shown += chunk
    assert process.wait() == 0
    assert b"checking" in shown and b"6/6" in shown


def test_a_reader_that_goes_away_is_no_error() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "unetr", "plan", "--template"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    said = process.stderr.read()
    assert (process.wait(), said) == (0, b"")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_while_predicting(
    number: signal.Signals,
    code: int,
    unetr: Command,
    assert_refused: Callable[..., None],
    tiny_model: Path,
    sound_scan: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("unetr.infer.predict.sweep", lambda *_: signal.raise_signal(number))
    assert_refused(unetr("predict", tiny_model, sound_scan, "-o", tmp_path / "out.nii.gz"), code, "stopped by")
    assert list(tmp_path.iterdir()) == []


SAVED = ("stopped after step 1; start it again", ["step-00000001.safetensors"])
AT_ONCE = ("stopped at once", [])


@pytest.mark.parametrize(
    ("numbers", "code", "words", "kept"),
    [
        ([signal.SIGINT], 130, *SAVED),
        ([signal.SIGTERM], 143, *SAVED),
        ([signal.SIGINT, signal.SIGINT], 130, *AT_ONCE),
        ([signal.SIGTERM, signal.SIGINT], 130, *AT_ONCE),
        # As GNU `timeout` sends it, to the process and to its group; nothing may be lost by it.
        ([signal.SIGTERM, signal.SIGTERM], 143, *SAVED),
    ],
    ids=["Ctrl-C", "SIGTERM", "Ctrl-C twice", "SIGTERM, Ctrl-C", "SIGTERM twice"],
)
def test_signals_while_training(
    numbers: list[signal.Signals],
    code: int,
    words: str,
    kept: list[str],
    unetr: Command,
    assert_refused: Callable[..., None],
    dataset: Path,
    train_options: list[object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first asks to save and stop after the step; Ctrl-C after it stops at once."""
    from unetr.train import loop

    step = loop.training_step

    def signalled(*arguments: Any) -> Any:
        for number in numbers:
            signal.raise_signal(number)
        return step(*arguments)

    monkeypatch.setattr(loop, "training_step", signalled)
    assert_refused(unetr("train", dataset, "-o", tmp_path / "run", *train_options), code, words)
    assert [path.name for path in (tmp_path / "run").glob("checkpoints/*")] == kept
