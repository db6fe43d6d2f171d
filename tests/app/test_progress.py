"""Progress in a log: a line now and then, never a flood, and none where nothing shall be shown."""

from __future__ import annotations

import io
import sys

import pytest

from unetr.app.views import progress as module
from unetr.app.views.progress import OnScreen, progress


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time in seconds, which a test sets."""
    now = [1000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def test_a_log_gets_a_line_each_minute(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with progress() as bar:
        step = bar.add_task("step", total=None, note="")
        for done in range(1, 601):  # two of them a second: five minutes
            clock[0] += 0.5
            bar.update(step, completed=done, total=600, note=f"loss {1 / done:.3f}")
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.splitlines() == [
        "step 120 of 600: loss 0.008",
        "step 240 of 600: loss 0.004",
        "step 360 of 600: loss 0.003",
        "step 480 of 600: loss 0.002",
        "step 600 of 600: loss 0.002",
    ]


def test_every_way_to_go_on_is_told(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with progress() as bar:
        task = bar.add_task("predicting", total=3, note="")
        clock[0] += 61
        bar.advance(task)
        screen = OnScreen(bar)
        clock[0] += 61
        screen.on_stage("measuring", 2, None)
    assert capsys.readouterr().err.splitlines() == ["predicting 1 of 3", "measuring 2"]


def test_one_of_several_processes_is_silent(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with progress(shown=False) as bar:
        task = bar.add_task("step", total=3, note="")
        clock[0] += 100
        bar.update(task, completed=1)
    assert capsys.readouterr().err == ""


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
def test_a_long_note_leaves_room_for_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.console import Console

    screen = io.StringIO()
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    bar = progress()
    bar.add_task("step", total=20000, completed=12345, note="validation Dice 0.810, " + "loss 0.307 " * 20)  # type: ignore[attr-defined]
    console = Console(file=screen, width=80)
    console.print(bar.get_renderable())  # type: ignore[attr-defined]
    (line,) = screen.getvalue().splitlines()
    assert len(line) <= 80 and "12345/20000" in line and "left validation Dice" in line and "…" in line
