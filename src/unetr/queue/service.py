"""One queue: what every door in front of it uses. Doors never parse an image, never name a file, never hold a state.

A scan's files are kept, then described by the reader process; jobs are done by the engine process, one at a time. Both
are children that may die and are replaced. What a method has returned from is on disk.
"""

from __future__ import annotations

import os
import secrets
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from unetr.core.files.atomic import machine_error
from unetr.core.files.lock import locked
from unetr.errors import InputError, MachineError
from unetr.queue.children.changes import Changes
from unetr.queue.children.describer import DESCRIBE_S, Describer, check_settings
from unetr.queue.children.engine import Engine
from unetr.queue.children.forms import Forms
from unetr.queue.children.options import Health, Progress, ServiceOptions
from unetr.queue.children.orders import Orders
from unetr.queue.children.reader import Reader
from unetr.queue.children.upkeep import Upkeep
from unetr.queue.files.audit import Audit
from unetr.queue.files.offered import OfferedModel, offered_models
from unetr.queue.files.removal import remove_old, remove_unknown
from unetr.queue.files.scans import Received, Scans
from unetr.queue.folder import QueueFolder, open_folder
from unetr.queue.record import WAITING, JobRecord, JobSpec, JobState, ScanRecord, Settings
from unetr.queue.store import JobStore, QueueFullError
from unetr.queue.tasks.dicom_forms import known_form

__all__ = [
    "Health", "OfferedModel", "Progress", "QueueFullError", "Received", "Service", "ServiceOptions"
]  # fmt: skip

_OF_VOLUMES = "nifti"


class Service:
    """The one service of a queue's folder, which it locks. Safe to use from several threads; close it at the end.

    models: names of shipped models, model files, folders of runs; all shipped ones where none is given. held: whether
    a job that has ended is still needed, such as by a delivery that is not done; it is then kept beyond its time.
    Raises InputError for what is no model and for a folder that another process holds, MachineError.
    """

    def __init__(
        self,
        folder: Path,
        models: Sequence[str | Path] = (),
        options: ServiceOptions = ServiceOptions(),  # noqa: B008  frozen
        held: Callable[[JobRecord], bool] = lambda job: False,
    ) -> None:
        self.models: Mapping[str, OfferedModel] = offered_models(models)
        self.options = options
        self._held = held
        self._wakes: list[Callable[[], None]] = []
        with ExitStack() as undo:
            undo.enter_context(locked(folder, mode=0o700))
            self.folder: QueueFolder = open_folder(folder.absolute())
            self.audit = Audit(self.folder.audit)
            self._changes = Changes()
            self.store = JobStore(self.folder.database, on_change=self._changed)
            undo.callback(self.store.close)
            self.store.take_back_all()
            remove_unknown(self.folder, self.store)
            self._scans = Scans(self.folder, self.store)
            self._orders = Orders(
                folder=self.folder,
                store=self.store,
                scans=self._scans,
                models=self.models,
                options=options,
                on_progress=self._changes.note,
                on_end=self._note_end,
            )
            self._start(undo)
            self._open = undo.pop_all()

    def _start(self, undo: ExitStack) -> None:
        """Both processes and the threads that watch over them; ended in the other order."""
        self._engine = Engine(self._orders, f"{os.getpid()}-{secrets.token_hex(8)}", next(iter(self.models.values())))
        undo.callback(self._engine.close)
        self._reader = Reader(self.options.memory_limit_bytes)
        self._describer = Describer(self._orders, self._reader)
        undo.callback(self._describer.close)
        undo.callback(self._reader.close)
        self._forms = Forms(self._orders, self._reader)
        self._wakes = [self._engine.wake, self._describer.wake]
        undo.callback(Upkeep(self.remove_old).close)
        undo.callback(self._changes.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends both processes; a job that runs waits for the next start."""
        self._open.close()

    # Scans

    def new_incoming(self) -> Path:
        """A fresh folder to receive files in, whose names are the caller's to make. Raises MachineError."""
        folder = self.folder.incoming / secrets.token_hex(16)
        try:
            folder.mkdir(0o700)
        except OSError as error:
            raise machine_error(Path("incoming"), error) from error
        return folder

    def keep_scan(self, files: Sequence[Received]) -> ScanRecord:
        """The scan of these files, which it moves away and names; the same files again are the same scan.

        Several volumes are channels, in this order. Raises InputError for what is no scan by its first bytes.
        """
        return self._scans.keep(files)

    def source(self, scan_id: str) -> Path | tuple[Path, ...]:
        """The scan as `Segmenter.predict` takes it. Raises InputError for no such scan."""
        files = self._scans.source(self.store.scan(scan_id))
        return files[0] if len(files) == 1 else files

    def describe(self, scan_id: str, timeout_s: float = DESCRIBE_S) -> Mapping[str, Any]:
        """The scan's facts, read in the reader process when first asked for.

        kind ("nifti", "nrrd", "mha", "dicom"), channels, shape, spacing_mm, orientation, type, modality; `series` of
        DICOM, each with uid, modality, count, slices, shape, spacing_mm, notes, missing (those that ask whether slices
        are missing); `needs`: settings without which no job works, such as "series". Raises InputError for what is no
        scan, in words.
        """
        return self._describer.describe(scan_id, timeout_s)

    def view(self, scan_id: str, series: Sequence[str] = (), model: str | None = None) -> Path:
        """The scan as a NIfTI, exactly as it is predicted on, made when it is first asked for. Raises InputError.

        model: the name of the one it is shown for, which may say which affine of a NIfTI counts.
        """
        return self._forms.view(scan_id, series, model)

    # Jobs

    def submit(
        self,
        scan_id: str,
        model: str,
        settings: Settings = Settings(),  # noqa: B008  frozen
        origin: Mapping[str, Any] | None = None,
    ) -> JobRecord:
        """The job that does what is asked for, one that is there already or a new one.

        origin: see JobRecord; its "actor" is who asks now. Raises QueueFullError, InputError for an unknown scan or
        model and for settings that cannot work on the scan.
        """
        offered = self._orders.model(model)
        forms = tuple(sorted({known_form(form) for form in settings.forms if form != _OF_VOLUMES}))
        settings = replace(settings, forms=forms)
        with self._scans.guard:
            scan = self.store.scan(scan_id)
            if scan.facts:
                check_settings(scan, scan.facts, settings)
            spec = JobSpec(scan=scan.id, model=model, model_sha256=offered.sha256, settings=settings)
            state = JobState.READY if scan.facts else JobState.RECEIVED
            job = self.store.submit(spec, state=state, origin=origin, most_waiting=self.options.most_waiting)
        self._note("submit", job, str((origin or {}).get("actor", "")))
        return job

    def progress(self, job_id: str) -> Progress | None:
        """Windows of the job while it runs."""
        return self._orders.progress(job_id)

    def wait(self, job_id: str, seen: int, timeout_s: float) -> int:
        """Blocks until anything about the job has changed since version `seen`, at most timeout_s; the new version.

        Versions grow, are of this process alone, and begin at 0.
        """
        return self._changes.wait(job_id, seen, timeout_s)

    def listen(self, hear: Callable[[str], None]) -> Callable[[], None]:
        """From now on, `hear` is called with each job that has changed, for those who wait without a thread.

        It is called from any thread and must not block. Returns what ends that.
        """
        return self._changes.listen(hear)

    def cancel(self, job_id: str, actor: str = "") -> JobRecord:
        """One that waits is cancelled at once, one that runs as soon as its engine has stopped. actor: who asks."""
        job = self.store.cancel(job_id)
        self._engine.stop(job_id)
        self._note("cancel", job, actor)
        return job

    def result(self, job_id: str, form: str) -> Path:
        """A file of a written job: "labels", "stats", "preview", "uncertainty", "dicom-seg", "rtstruct",
        "capture".

        A form in DICOM that was not asked for in the settings is made when it is first asked for, and then stays.
        Raises InputError for what there is not.
        """
        return self._forms.result(self.store.job(job_id), form)

    def correct(self, job_id: str, labels: Path, meant: Sequence[int] = (), actor: str = "") -> int:
        """Keeps corrected labels, a volume in `incoming/` that it takes away; returns the correction's number.

        meant: the model's value for each number in the file, from 0 on; empty where the numbers are the values. actor:
        who asks.
        Raises InputError unless they are on the result's grid and hold its values alone.
        """
        job = self.store.job(job_id)
        number = self._forms.correct(job, labels, meant)
        self._note("correct", job, actor)
        self._changes.note(job_id)
        return number

    def corrections(self, job_id: str) -> list[int]:
        """The numbers of the job's corrections."""
        return self._forms.corrections(job_id)

    def correction(self, job_id: str, number: int, form: str) -> Path:
        """A correction: "labels", or a form in DICOM, made when it is first asked for. Raises InputError."""
        return self._forms.correction(self.store.job(job_id), number, form)

    # The service itself

    def health(self) -> Health:
        """How it stands; nothing of any patient."""
        counts = self.store.counts()
        oldest = self.store.oldest_waiting_s()
        return Health(
            engine=self._engine.alive,
            no_room=self._engine.is_short,
            restarts=self._engine.restarts + self._reader.restarts,
            waiting=sum(counts[state] for state in WAITING),
            oldest_waiting_s=0.0 if oldest is None else max(0.0, time.time() - oldest),
            free_bytes=shutil.disk_usage(self.folder.path).free,
            last_error=self._engine.last_error,
        )

    @property
    def engine_pid(self) -> int:
        """Of the process that segments."""
        return self._engine.pid

    @property
    def reader_pid(self) -> int:
        """Of the process that reads what was sent in."""
        return self._reader.pid

    def remove_old(self) -> None:
        """Removes results and scans that are older than the retention; done every minute. Raises MachineError."""
        before_s = time.time() - self.options.retention_s
        for job in remove_old(self.folder, self.store, self._scans, before_s, self._held):
            self._changes.forget(job.id)
            self._note("remove", job)

    def _changed(self, job: str) -> None:
        self._changes.note(job)
        for wake in self._wakes:
            wake()

    def _note_end(self, job_id: str) -> None:
        """Notes how a job ended, or that it is tried again."""
        with suppress(InputError):
            self._note("run", self.store.job(job_id))

    def _note(self, action: str, job: JobRecord, actor: str = "") -> None:
        """A log that cannot be written keeps no result back. actor: nobody for what the queue does by itself."""
        with suppress(MachineError):
            self.audit.note(action, job=job.id, model=job.spec.model, actor=actor, outcome=job.state)
