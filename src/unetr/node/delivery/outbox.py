"""The outbox: every form of a written result reaches each destination that its rule names, and is there once.

Before anything is sent, the file's digest is in the database. A try sends, reads back and compares what is there with
what was sent; only that makes a delivery. A try that fails, or ends with its process, is made again: the object's UIDs
follow from the job, so a destination that has it already keeps one. Waiting times double from a second to an hour. A
destination that is away is looked at, and what waits for it is sent as soon as it is back.
"""

from __future__ import annotations

import math
import random
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

from unetr.core.files.digest import file_sha256
from unetr.errors import InputError, MachineError, UnetrError
from unetr.io.dicom.exchange import content_digest, identity_of
from unetr.node.delivery.away import Away
from unetr.node.delivery.letters import Letter, Letters
from unetr.node.delivery.sender import DeliveryError, Held, Sender, UnclearError
from unetr.queue.store import JobStore

_MOST_DOUBLINGS = 30
_LEAST_TRIES = 10  # before a letter is dead: the clock alone may have been set forward
_JITTER = (0.75, 1.0)  # so that what failed together is not tried together


class Audit(Protocol):
    """What of the queue's audit log is needed."""

    def note(self, action: str, *, job: str = "", outcome: str = "") -> None:
        """Keeps a line: words and ids, never a patient's. Raises MachineError."""


class Results(Protocol):
    """What of a queue is needed."""

    @property
    def store(self) -> JobStore:
        """The jobs."""

    def result(self, job_id: str, form: str) -> Path:
        """The file of a form, whose bytes never change again. Raises UnetrError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxOptions:
    """first_s, longest_s: the first and the longest time between two tries. give_up_s: after which a letter is dead.

    longest_here_s: the longest where this machine refuses, as with a full disk: to look again costs nobody anything.
    probe_s: how often a destination that is away is looked at. poll_s: how often the database is looked at.
    """

    first_s: float = 1.0
    longest_s: float = 3600.0
    longest_here_s: float = 20.0
    give_up_s: float = 24 * 3600.0
    probe_s: float = 20.0
    poll_s: float = 0.5


def _unheard(_: str) -> None:
    """Nobody to tell."""


class Outbox:
    """Delivers the results of one queue, in one thread for each destination. A context manager.

    senders: by the destinations' names. note: hears a line where people should look. clock: seconds since 1970, for
    tests.
    """

    def __init__(
        self,
        results: Results,
        senders: Mapping[str, Sender],
        options: OutboxOptions | None = None,
        *,
        audit: Audit | None = None,
        note: Callable[[str], None] = _unheard,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.letters = Letters(results.store, clock)
        self._results = results
        self._senders = senders
        self._options = options or OutboxOptions()
        self._audit = audit
        self._note = note
        self._clock = clock
        self._away = {name: Away(self._options.probe_s, self._options.longest_s, clock) for name in senders}
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        for name in self._senders:
            self.letters.hurry(name)  # a start is as good as a person who asks
            thread = threading.Thread(target=self._deliver_to, args=(name,), name=f"outbox {name}", daemon=True)
            self._threads.append(thread)
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def step(self, name: str) -> bool:
        """Makes one try for one destination; whether there was one to make. Raises MachineError of the database."""
        self.letters.collect()
        for lost in self.letters.elsewhere(list(self._senders)):
            self._bury(lost, "the settings have no destination of this name any more")
        if self._away[name].is_back(self._senders[name].look):
            self.letters.hurry(name)
        letter = None if self._away[name].wants_silence() else self.letters.due(name, self._options.longest_s)
        if letter is None:
            return False
        try:
            self._try(letter, self._senders[name])
        except DeliveryError as error:
            self._note_failure(letter, error)
        except InputError as error:  # the result has no such form, and never will have
            self._note_failure(letter, DeliveryError(str(error), final=True))
        except UnetrError as error:  # the machine refuses, now
            self._note_failure(letter, DeliveryError(str(error)), self._options.longest_here_s)
        except Exception as error:  # noqa: BLE001  # a defect must not end the thread, and its words may hold anything
            self._note_failure(letter, DeliveryError(f"sending it failed: {type(error).__name__}"))
        return True

    def _try(self, letter: Letter, sender: Sender) -> None:
        self.letters.begin(letter)
        path = self._results.result(letter.job, letter.form)
        digest = file_sha256(path)
        if letter.sha256 is None:
            self.letters.fixed(letter, digest)
        elif letter.sha256 != digest:
            raise DeliveryError("the file of the result is not what was first sent; it was changed on disk", final=True)
        identity, content = identity_of(path), content_digest(path)
        held = Held.ABSENT
        if letter.attempts:  # an earlier try may have got further than anybody noted
            with suppress(UnclearError):  # to send it twice does no harm, and not to send it would
                held = sender.held(identity, content)
        if held is Held.ABSENT:
            sender.send(path, identity)
            self.letters.sent(letter)
            held = sender.held(identity, content)
        if held is Held.ABSENT:
            raise DeliveryError("the destination said that it has it, but does not show it")
        if held is Held.OTHER:
            raise DeliveryError(
                "the destination has another object of the same UID and keeps that; remove it there, then try again",
                final=True,
            )
        self._away[letter.destination].reached()
        self.letters.delivered(letter)
        self._tell(letter, "delivered" if held is Held.SAME else "delivered, by its UID alone")

    def _note_failure(self, letter: Letter, error: DeliveryError, longest_s: float = math.inf) -> None:
        now, options = self._clock(), self._options
        if error.away:
            self._away[letter.destination].failed(error.retry_after_s)
        tired = now - letter.since_s >= options.give_up_s and letter.attempts >= _LEAST_TRIES
        if error.final or tired:
            self._bury(letter, str(error))
            return
        wait = min(longest_s, options.longest_s, options.first_s * 2.0 ** min(letter.attempts, _MOST_DOUBLINGS))
        wait *= random.uniform(*_JITTER)  # noqa: S311  # no secret
        wait = max(wait, min(error.retry_after_s or 0.0, options.longest_s))
        self.letters.failed(letter, str(error), now + wait)

    def _bury(self, letter: Letter, why: str) -> None:
        self.letters.died(letter, why)
        self._tell(letter, "dead letter")
        self._note(f"{letter.form} of job {letter.job} is not sent to {letter.destination} any more: {why}")

    def _tell(self, letter: Letter, outcome: str) -> None:
        """A log that cannot be written keeps no result back."""
        if self._audit is not None:
            with suppress(MachineError):
                told = f"{outcome}: {letter.form} to {letter.destination}"
                self._audit.note("deliver", job=letter.job, outcome=told)

    def _deliver_to(self, name: str) -> None:
        options, failures = self._options, 0
        while not self._stop.is_set():
            busy = False
            try:
                busy, failures = self.step(name), 0
            except UnetrError:  # the database cannot be written, now: nothing was noted, so nothing is lost
                failures += 1
            if not busy:
                self._stop.wait(min(options.longest_here_s, options.poll_s * 2.0 ** min(failures, _MOST_DOUBLINGS)))
