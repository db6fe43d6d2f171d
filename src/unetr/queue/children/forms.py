"""What is made of a result after it was written: other forms of it, views of its scan, corrections by people."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from unetr.core.files.atomic import machine_error, remove_leftovers
from unetr.errors import InputError
from unetr.queue.children.orders import Orders
from unetr.queue.children.reader import Reader, turn
from unetr.queue.files.sniff import ARCHIVE, DICOM, suffix_of
from unetr.queue.record import FINISHED, JobRecord, ResultFile, Settings
from unetr.queue.tasks.dicom_forms import DICOM_FORMS, known_form
from unetr.queue.tasks.reading import CheckRequest, FormRequest, ViewRequest

_READ_S = 600.0
_LABELS = "labels"


class Forms:
    """Safe to use from several threads: one file is made at a time."""

    def __init__(self, orders: Orders, reader: Reader) -> None:
        self._orders = orders
        self._reader = reader
        self._making = threading.Lock()

    def view(self, scan: str, series: Sequence[str], model: str | None) -> Path:
        """The scan as it is predicted on, as NIfTI. Raises InputError."""
        settings = Settings(series=tuple(series), assume_affine="assume_affine" in self._needs(scan))
        offered = None if model is None else self._orders.model(model)
        source = self._orders.source(scan, settings, offered)
        out = self._orders.folder.view(scan)
        if series or source.transform:
            told = "\n".join((*series, source.transform or ""))
            out = out.with_stem(f"{out.stem}-{hashlib.sha256(told.encode()).hexdigest()[:12]}")
        if not out.exists():
            with turn(self._making):
                if not out.exists():
                    self._write("view", ViewRequest(source=source, out=out))
        return out

    def result(self, job: JobRecord, form: str) -> Path:
        """A file of a result; a form in DICOM is made when it is first asked for. Raises InputError."""
        folder = self._orders.folder.job(job.id)
        found = _named(job, form)
        if found is None and form in DICOM_FORMS:
            with turn(self._making):
                found = _named(self._orders.store.job(job.id), form)
                if found is None:
                    name = f"{_LABELS}{DICOM_FORMS[form].ending}"
                    made = self._made(job, folder / "labels.nii.gz", folder / name, form)
                    record = self._orders.store.add_result(job.id, made)
                    found = _named(record, form)
        if found is None:
            raise InputError(f"the result has no {form}; expected one of {', '.join(one.form for one in job.results)}")
        return folder / found.name

    def corrections(self, job: str) -> list[int]:
        """The numbers of the corrections that there are."""
        found = (self._orders.folder.job(job) / "corrections").glob("[0-9]*.nii.gz")
        return sorted(int(path.name.partition(".")[0]) for path in found)

    def correct(self, job: JobRecord, labels: Path, meant: Sequence[int] = ()) -> int:
        """Keeps what a person drew; returns its number. meant: see `CheckRequest`. Raises InputError."""
        _check_finished(job)
        model = self._orders.model(job.spec.model, job.spec.model_sha256)
        suffix = suffix_of(labels)
        if suffix in (ARCHIVE, DICOM, ""):
            raise InputError("the correction: is no label volume; expected NIfTI, NRRD or MetaImage (.mha)")
        folder = self._orders.folder.job(job.id)
        try:
            given = labels.replace(labels.with_name(f"correction{suffix}"))
        except OSError as error:
            raise machine_error(Path("the correction"), error) from error
        with _taking_away(given), turn(self._making):
            number = max(self.corrections(job.id), default=0) + 1
            out = folder / "corrections" / f"{number:04}.nii.gz"
            like = folder / "labels.nii.gz"
            check = CheckRequest(given=given, like=like, names=model.labels, out=out, meant=tuple(meant))
            self._write("check", check)
        return number

    def correction(self, job: JobRecord, number: int, form: str) -> Path:
        """A file of a correction: "labels", or a form in DICOM. Raises InputError."""
        if number not in self.corrections(job.id):
            raise InputError(f"there is no correction {number}")
        labels = self._orders.folder.job(job.id) / "corrections" / f"{number:04}.nii.gz"
        if form == _LABELS:
            return labels
        out = labels.with_name(f"{number:04}{DICOM_FORMS[known_form(form)].ending}")
        if not out.exists():
            with turn(self._making):
                if not out.exists():
                    self._made(job, labels, out, form, correction=number)
        return out

    def _made(self, job: JobRecord, labels: Path, out: Path, form: str, *, correction: int = 0) -> ResultFile:
        """correction: the number of the one that the labels are; 0 for the result itself."""
        _check_finished(job)
        model = self._orders.model(job.spec.model, job.spec.model_sha256)
        source = self._orders.source(job.spec.scan, job.spec.settings, model)
        request = FormRequest(
            source=source,
            labels=labels,
            names=model.labels,
            form=form,
            made_by=f"{model.title} corrected" if correction else model.title,
            out=out,
            identity=f"{job.spec.key} correction {correction}" if correction else job.spec.key,
            summary={} if correction else job.summary,
        )
        made = self._write("form", request)
        return ResultFile(form=form, name=out.name, bytes=made["bytes"], sha256=made["sha256"])

    def _write(self, task: str, request: ViewRequest | CheckRequest | FormRequest) -> Mapping[str, Any]:
        """The answer of a task that writes one file; of a reader that was killed nothing half-written stays."""
        try:
            return self._reader.ask(task, request, _READ_S)
        finally:
            with suppress(OSError):
                remove_leftovers([request.out.parent])

    def _needs(self, scan: str) -> Sequence[str]:
        needs: Sequence[str] = self._orders.store.scan(scan).facts.get("needs", ())
        return needs


@contextmanager
def _taking_away(given: Path) -> Iterator[None]:
    """Whatever comes of it, the file is gone in the end, and its folder with it."""
    try:
        yield
    finally:
        with suppress(OSError):  # something else lies there still
            given.unlink(missing_ok=True)
            given.parent.rmdir()


def _named(job: JobRecord, form: str) -> ResultFile | None:
    return next((one for one in job.results if one.form == form), None)


def _check_finished(job: JobRecord) -> None:
    if job.state not in FINISHED:
        raise InputError(f"the job is {job.state}; expected one whose result is written")
