"""Which destinations are away, and whether one has come back.

A destination that a try could not reach is looked at now and then. Where looking failed, too, and then succeeds, it is
back, and what waits for it need not wait longer. Where looking succeeds at once, the try failed for another reason: the
waiting times stay, so that a busy destination is not asked more often than it should be.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(slots=True)
class Away:
    """One destination. every_s: how often it is looked at."""

    every_s: float
    clock: Callable[[], float]
    next_s: float | None = None  # of the next look; None: it is not away
    seen_away: bool = False

    def failed(self) -> None:
        """A try could not reach it."""
        if self.next_s is None:
            self.next_s = self.clock() + self.every_s

    def reached(self) -> None:
        """A try has reached it."""
        self.next_s, self.seen_away = None, False

    def is_back(self, answers: Callable[[], bool]) -> bool:
        """Looks, if it is time to; whether it was away and has come back."""
        if self.next_s is None or self.clock() < self.next_s:
            return False
        if not answers():
            self.next_s, self.seen_away = self.clock() + self.every_s, True
            return False
        was_away = self.seen_away
        self.reached()
        return was_away
