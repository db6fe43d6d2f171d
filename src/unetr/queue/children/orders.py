"""From a job to what a child is asked for, and how far the one that runs is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from unetr.errors import InputError, MachineError
from unetr.queue.children.options import Progress, ServiceOptions
from unetr.queue.files.offered import OfferedModel
from unetr.queue.files.removal import emptied, removed
from unetr.queue.files.scans import Scans
from unetr.queue.folder import QueueFolder
from unetr.queue.record import JobRecord, Settings
from unetr.queue.store import JobStore
from unetr.queue.tasks.reading import Source
from unetr.queue.tasks.segment import SegmentRequest, WarmRequest


@dataclass(slots=True, kw_only=True)
class Orders:
    """What the engine asks of its service. on_progress, on_end: are told of the job."""

    folder: QueueFolder
    store: JobStore
    scans: Scans
    models: Mapping[str, OfferedModel]
    options: ServiceOptions
    on_progress: Callable[[str], None]
    on_end: Callable[[str], None]
    _running: tuple[str, Progress] | None = field(default=None, init=False)

    def model(self, name: str, sha256: str | None = None) -> OfferedModel:
        """Raises InputError for one that is not offered, or not with this digest any more."""
        model = self.models.get(name)
        if model is None:
            raise InputError(f"model {name}: is not offered; expected one of {', '.join(self.models)}")
        if sha256 not in (None, model.sha256):
            raise InputError(f"model {name}: has changed since the job was submitted; submit it again")
        return model

    def warm(self, model: OfferedModel) -> WarmRequest:
        """The model, and what runs it."""
        chosen = self.options
        return WarmRequest(
            files=model.files,
            sha256=model.sha256,
            engine=chosen.engine,
            device=chosen.device,
            precision=chosen.precision,
        )

    def order(self, job: JobRecord) -> SegmentRequest:
        """The job for the engine, in a folder made empty. Raises InputError, MachineError."""
        model = self.model(job.spec.model, job.spec.model_sha256)
        source = self.scans.source(self.store.scan(job.spec.scan))
        settings = job.spec.settings
        return SegmentRequest(
            model=self.warm(model),
            name=model.name,
            source=source,
            out=emptied(self.folder.job(job.id)),
            options={
                "tta": settings.tta,
                "uncertainty": settings.uncertainty,
                "strict": settings.strict,
                "assume_affine": settings.assume_affine,
                "series": list(settings.series),
                "memory_limit_bytes": self.options.memory_limit_bytes,
            },
            forms=settings.forms,
            identity=job.spec.key,
        )

    def discard(self, job: JobRecord) -> None:
        """Removes what a job had written that counts for nothing, as far as that goes; a next try removes the rest."""
        with suppress(MachineError):
            removed(self.folder.job(job.id))

    def source(self, scan: str, settings: Settings, model: OfferedModel | None = None) -> Source:
        """The scan for the reader. Raises InputError."""
        return Source(
            files=self.scans.source(self.store.scan(scan)),
            series=settings.series,
            assume_affine=settings.assume_affine,
            transform=None if model is None else model.transform,
        )

    def progressed(self, job: JobRecord, done: int, of: int) -> None:
        """So many windows are done."""
        self._running = (job.id, Progress(done=done, of=of))
        self.on_progress(job.id)

    def ended(self, job: JobRecord) -> None:
        """The engine has another job, or none."""
        self._running = None
        self.on_end(job.id)

    def progress(self, job: str) -> Progress | None:
        """Of the job, while it runs."""
        running = self._running
        return running[1] if running is not None and running[0] == job else None
