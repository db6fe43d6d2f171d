"""A node as a whole: what comes in, what becomes of it, and what goes out, until it is closed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from unetr.errors import InputError, UnetrError
from unetr.infer.route import parse_memory
from unetr.node.delivery.destination import wanted_of
from unetr.node.delivery.outbox import Outbox
from unetr.node.delivery.senders import open_senders
from unetr.node.intake import Intake
from unetr.node.pull.loop import PullLoop, open_source
from unetr.node.receive.arriving import Arrivals
from unetr.node.receive.scp import Receiver
from unetr.node.receive.table import ArrivingTable
from unetr.node.settings import NodeSettings
from unetr.queue.record import JobRecord, JobState
from unetr.queue.service import OfferedModel, Service, ServiceOptions

_PAUSE_S = 0.2
_CLEAN_S = 60.0
_WANTED_S = 7 * 86400.0
_TITLE = "UNETR"


class Node:
    """A context in which a node works. folder: its queue's, which it locks. note: hears lines of what happens, without
    what could name a patient; from several threads.

    Raises InputError for settings that cannot be worked with, and MachineError for a port that cannot be had.
    """

    def __init__(self, settings: NodeSettings, folder: Path, note: Callable[[str], None]) -> None:
        self._settings, self._note = settings, note
        self._stop = threading.Event()
        with ExitStack() as undo:
            undo.callback(setattr, threading, "excepthook", threading.excepthook)
            threading.excepthook = self._ended
            self.service = undo.enter_context(Service(folder, settings.models, _options(settings), _is_wanted))
            _check_models(settings, self.service.models)
            table = ArrivingTable(self.service.store)
            self.arrivals = Arrivals(self.service.folder.path / "arriving", table, settings.limits)
            self.intake = Intake(settings.rules, settings.ready, self.arrivals, self.service, note)
            self._deliver(undo)
            for pull in settings.pull:
                source = open_source(pull, settings.limits, self.arrivals, self.service.store)
                undo.enter_context(PullLoop(pull, source, note))
            self.receiver: Receiver | None = None
            if settings.listen is not None:
                self.receiver = undo.enter_context(Receiver(settings.listen, settings.limits, self.arrivals))
            self._thread = threading.Thread(target=self._work, name="intake", daemon=True)
            self._thread.start()
            undo.callback(self._end)
            self._open = undo.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def counts(self) -> Mapping[str, int]:
        """What came and what became of it since the start, without anything of a patient."""
        received = self.receiver.counts if self.receiver is not None else {}
        return {**self.arrivals.counts, **received, **{f"series {key}": n for key, n in self.intake.counts.items()}}

    def _deliver(self, undo: ExitStack) -> None:
        listen = self._settings.listen
        title = listen.title if listen is not None else _TITLE
        senders = open_senders([one.destination(title) for one in self._settings.deliver])
        undo.enter_context(Outbox(self.service, senders, audit=self.service.audit, note=self._note))

    def _end(self) -> None:
        self._stop.set()
        self._thread.join()

    def _ended(self, told: threading.ExceptHookArgs) -> None:
        """A thread has ended by a defect, such as a connection's. The error's own words may name a patient."""
        self._note(f"a thread of the node ended: {told.exc_type.__name__}")

    def _work(self) -> None:
        cleaned, failing = 0.0, False
        while not self._stop.is_set():
            busy = False
            try:
                busy = self.intake.step()
                if time.monotonic() - cleaned > _CLEAN_S:
                    self.arrivals.remove_old(self._settings.queue.retention_h * 3600)
                    cleaned = time.monotonic()
                failing = False
            except UnetrError as error:  # the database cannot be written, now
                self._failed(failing, str(error))
                failing = True
            except Exception as error:  # noqa: BLE001  # a defect must not end the thread; its words may hold anything
                self._failed(failing, f"sorting what came failed: {type(error).__name__}")
                failing = True
            if not busy or failing:
                self._stop.wait(_PAUSE_S)

    def _failed(self, before: bool, why: str) -> None:
        if not before:
            self._note(why)


def _is_wanted(job: JobRecord) -> bool:
    """Whether a result is still to be delivered, or may be sent again by a person: for a week."""
    waits = job.state is JobState.WRITTEN and bool(wanted_of(job.origin))
    return waits and time.time() - job.updated_s < _WANTED_S


def _check_models(settings: NodeSettings, models: Mapping[str, OfferedModel]) -> None:
    """Raises InputError for rules whose model is not offered, or takes another number of series."""
    for rule in settings.rules:
        offered = models.get(rule.model)
        if offered is None:
            raise InputError(f"rule {rule.name}: model {rule.model} is not offered; expected {' or '.join(models)}")
        given, needed = max(1, len(rule.channels)), len(offered.channels)
        if given != needed:
            raise InputError(
                f"rule {rule.name}: gives model {rule.model} {given} series; expected {needed}, for "
                f"{', '.join(offered.channels)}"
            )


def _options(settings: NodeSettings) -> ServiceOptions:
    queue = settings.queue
    return ServiceOptions(
        most_waiting=queue.most_waiting,
        memory_limit_bytes=None if queue.memory_limit is None else parse_memory(queue.memory_limit),
        retention_s=queue.retention_h * 3600,
        engine=queue.engine,
        device=queue.device,
        precision=queue.precision,
    )
