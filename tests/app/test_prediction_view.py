"""What the terminal shows of a prediction while it runs: a bar for the cases, one for the windows of a scan."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from rich.console import Console
from rich.progress import Progress

import unetr
from unetr.app.views.prediction import PredictionView


@pytest.fixture
def bars(monkeypatch: pytest.MonkeyPatch) -> list[Progress]:
    """The progress bars that are shown, kept."""
    shown: list[Progress] = []

    @contextmanager
    def progress() -> Iterator[Progress]:
        with Progress(console=Console(file=io.StringIO(), force_terminal=True)) as bar:
            shown.append(bar)
            yield bar

    monkeypatch.setattr("unetr.app.views.prediction.progress", progress)
    return shown


@pytest.mark.parametrize("several", [True, False])
def test_bars_for_cases_and_for_the_windows_of_a_scan(
    several: bool,
    bars: list[Progress],
    tiny_model: Path,
    sound_scan: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    scan = unetr.read_volume(sound_scan)
    for name in ("a", "b"):
        unetr.write_volume(tmp_path / f"in/{name}.nii.gz", scan)
    with PredictionView(as_json=False) as view:
        unetr.predict(tiny_model, tmp_path / "in" / ("" if several else "a.nii.gz"), tmp_path / "out", observer=view)
    (bar,) = bars
    shown = {task.description: (task.completed, task.total) for task in bar.tasks}
    windows = shown.pop("windows")
    assert windows[0] == windows[1] > 4  # the last scan's
    assert shown == ({"predicting": (2, 2)} if several else {})
    assert "volumes in ml" in capsys.readouterr().out
