"""What jobs tell of their stages, and how they are stopped."""

from __future__ import annotations

import pytest

from unetr.core.observer import Observer, staged, stop_if_asked
from unetr.errors import StoppedError


class Impatient(Observer):
    """Asks to stop once two cases are done."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, int, int | None]] = []

    def on_stage(self, name: str, done: int, of: int | None) -> None:
        self.heard.append((name, done, of))

    def should_stop(self) -> bool:
        return len(self.heard) == 2


def test_stage_is_told_until_the_observer_asks_to_stop() -> None:
    observer = Impatient()
    tell = staged(observer, "measuring")
    tell(1, 3)
    tell(2, 3)
    with pytest.raises(StoppedError, match="stopped while measuring, after 3 of 3 cases; start it again to go on"):
        tell(3, 3)
    assert observer.heard == [("measuring", 1, 3), ("measuring", 2, 3)]


def test_observer_that_overrides_nothing_hears_all_and_stops_nothing() -> None:
    observer = Observer()
    staged(observer, "checking")(1, 1)
    observer.on_note("a line")
    stop_if_asked(observer, "checking")
