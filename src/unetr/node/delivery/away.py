"""Which destinations are away, and whether one has come back.

A destination that a try could not reach is looked at now and then, by questions of the kind that a try asks. Where such
a look failed, too, and then succeeds, it is back, and what waits for it need not wait longer; so where a look is
answered in another way than the one before, as by a destination that refuses each look in a way of its own. Where the
first look succeeds, the try failed for another reason: the waiting times stay, so that a busy destination is not asked
more often than it should be. One that says when it wants to be asked again is not asked before.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from unetr.node.delivery.sender import DeliveryError


@dataclass(slots=True)
class Away:
    """One destination. every_s: how often it is looked at. most_s: the longest time for which it may ask for silence.

    next_s: of the next look; None: it is not away. silent_s: it is not asked before. noted_s: when these two were
    noted; a clock that shows less was set back, and both are over. told: why the last look failed.
    """

    every_s: float
    most_s: float
    clock: Callable[[], float]
    next_s: float | None = None
    silent_s: float = 0.0
    noted_s: float = 0.0
    told: str | None = None

    def failed(self, silence_s: float | None) -> None:
        """A try could not reach it. silence_s: for how long it wants not to be asked, as far as it says."""
        if self.next_s is None or silence_s:
            self._wait(silence_s)

    def reached(self) -> None:
        """A try has reached it."""
        self.next_s, self.silent_s, self.told = None, 0.0, None

    def wants_silence(self) -> bool:
        """Whether it has asked for more time."""
        return not self._is_over(self.silent_s)

    def is_back(self, look: Callable[[], None]) -> bool:
        """Looks, if it is time to; whether it was away and has come back. look: raises DeliveryError where it fails."""
        if self.next_s is None or not self._is_over(self.next_s):
            return False
        before = self.told
        try:
            look()
        except DeliveryError as error:
            self.told = str(error)
            self._wait(error.retry_after_s)
            return before not in (None, self.told) and not self.wants_silence()
        except Exception as error:  # noqa: BLE001  # a defect must not end the thread: it is looked at again
            self.told = type(error).__name__
            self._wait(None)
            return False
        self.reached()
        return before is not None

    def _wait(self, silence_s: float | None) -> None:
        self.noted_s = self.clock()
        silence = min(silence_s or 0.0, self.most_s)
        self.silent_s, self.next_s = self.noted_s + silence, self.noted_s + max(self.every_s, silence)

    def _is_over(self, moment_s: float) -> bool:
        now = self.clock()
        return now >= moment_s or now < self.noted_s
