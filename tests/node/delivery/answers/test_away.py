"""A destination that was away gets what waits for it within a minute of its return, whatever it did meanwhile."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.node.delivery.fault_proxy import FaultProxy
from tests.node.delivery.made import MadeResults
from tests.orthanc import Orthanc

from unetr.io.dicom.exchange import ObjectIdentity
from unetr.node.delivery.destination import Destination, StowService
from unetr.node.delivery.letters import LetterState
from unetr.node.delivery.outbox import Outbox, OutboxOptions
from unetr.node.delivery.sender import DeliveryError, Held
from unetr.node.delivery.senders import open_senders
from unetr.queue.record import JobState

TRY_S, LOOK_S, POLL_S = 30.0, 10.0, 2.0
KINDS = ("refused", "hangs", "storing is busy", "asking back is busy", "wants time", "refuses every look")


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


class Ill:
    """A destination that is ill in one way until `well_s`. asked: when it was tried, and when it was looked at."""

    def __init__(self, kind: str, clock: Clock, well_s: float) -> None:
        self.kind, self.clock, self.well_s = kind, clock, well_s
        self.has, self.tried, self.looked = False, list[float](), list[float]()

    def _answer(self, limit_s: float, *ill_in: str) -> None:
        self.clock.now += 0.2
        if self.clock.now >= self.well_s or self.kind not in (*ill_in, "refused", "hangs", "wants time"):
            return
        if self.kind == "hangs":
            self.clock.now += limit_s
        raise DeliveryError(self.kind, away=True, retry_after_s=45 if self.kind == "wants time" else None)

    def send(self, path: Path, identity: ObjectIdentity) -> None:
        self.tried.append(self.clock.now)
        self._answer(TRY_S, "storing is busy", "refuses every look")
        self.has = True

    def held(self, identity: ObjectIdentity, content: str) -> Held:
        self._answer(TRY_S, "asking back is busy")
        return Held.SAME if self.has else Held.ABSENT

    def look(self) -> None:
        self.looked.append(self.clock.now)
        self._answer(LOOK_S, "storing is busy", "asking back is busy")
        if self.kind == "refuses every look":
            raise DeliveryError("500" if self.clock.now >= self.well_s else "503", away=True)


@pytest.fixture
def again(results: MadeResults) -> Callable[[], MadeResults]:
    """The same results, of which nothing was sent yet."""

    def make() -> MadeResults:
        with results.store.changing() as connection:
            connection.execute("DROP TABLE IF EXISTS deliveries")
            connection.execute("UPDATE jobs SET state = ?", (JobState.WRITTEN,))
        return results

    return make


@pytest.mark.parametrize("away_s", [3, 33, 300, 4000])
@pytest.mark.parametrize("kind", KINDS)
def test_has_it_within_a_minute_and_is_not_asked_too_often(
    again: Callable[[], MadeResults], kind: str, away_s: float
) -> None:
    clock = Clock()
    begun, well_s = clock.now, clock.now + away_s
    pacs = Ill(kind, clock, well_s)
    outbox = Outbox(again(), {"pacs": pacs}, OutboxOptions(), clock=clock)
    while not outbox.letters.counts()[LetterState.DELIVERED]:
        assert clock.now <= well_s + 60, outbox.letters.open("pacs")
        if not outbox.step("pacs"):
            clock.now += POLL_S
    ill = [moment for moment in pacs.tried if moment < well_s]
    assert len(ill) <= 2 + (away_s + 1).bit_length()  # after 1, 2, 4 s and so on
    assert len(pacs.looked) <= 1 + (clock.now - begun) / 20
    if kind == "wants time":
        moments = sorted([*pacs.tried, *(one for one in pacs.looked if one < well_s)])
        assert all(later - one >= 45 for one, later in itertools.pairwise(moments) if one < well_s)


def test_a_clock_that_is_set_keeps_nothing_back_and_buries_nothing(again: Callable[[], MadeResults]) -> None:
    clock = Clock()
    pacs = Ill("refused", clock, clock.now + 1e9)
    outbox = Outbox(again(), {"pacs": pacs}, OutboxOptions(), clock=clock)
    assert outbox.step("pacs")
    clock.now += 400 * 86400  # as where the battery of the machine's clock is empty
    assert outbox.step("pacs") and outbox.letters.dead() == []
    clock.now -= 800 * 86400
    pacs.well_s = clock.now
    assert outbox.step("pacs")
    assert outbox.letters.counts()[LetterState.DELIVERED] == 1


@pytest.mark.parametrize("fault", ["busy", "post is busy", "asking back is busy", "drop", "hang"])
def test_a_real_one_that_is_back_gets_it_at_once(
    again: Callable[[], MadeResults], proxy: FaultProxy, pacs: Orthanc, fault: str
) -> None:
    service = StowService(url=f"{proxy.url}/dicom-web")
    senders = open_senders([Destination(name="pacs", stow=service, timeout_s=0.6)])
    options = OutboxOptions(first_s=3600, longest_s=3600, probe_s=0.1, poll_s=0.02)  # the next try is an hour away
    outbox, proxy.fault = Outbox(again(), senders, options), fault
    with outbox:
        end = time.monotonic() + 10
        while len(proxy.seen) < 3 and time.monotonic() < end:
            time.sleep(0.02)
        assert len(proxy.seen) >= 3 and not outbox.letters.counts()[LetterState.DELIVERED]
        proxy.fault = ""
        proxy.released.set()
        end = time.monotonic() + 5
        while not outbox.letters.counts()[LetterState.DELIVERED] and time.monotonic() < end:
            time.sleep(0.02)
    assert outbox.letters.counts()[LetterState.DELIVERED] == 1, outbox.letters.open("pacs")
    assert len(pacs.instances("SEG")) == 1
