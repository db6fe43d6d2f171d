"""What came of a job: its files, and the corrections that people made."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from fastapi.responses import FileResponse

from unetr.core.files.digest import file_sha256
from unetr.errors import MachineError
from unetr.queue.record import FINISHED, JobRecord, JobState
from unetr.serve.routes.jobs import DOOR, JobId, job_of
from unetr.serve.schemas import CorrectionAnswer, CorrectionForm, CorrectionsAnswer, ErrorAnswer, Form
from unetr.serve.web.downloads import Sent, download
from unetr.serve.web.errors import NotFoundError, WrongStateError
from unetr.serve.web.serving import Here, Serving, actor_of
from unetr.serve.web.uploads import only_file, receive

router = APIRouter(prefix="/api/jobs/{job}", tags=["results"])
# Form -> ending of the file's name, and media type.
_KINDS = {
    "labels": (".labels.nii.gz", "application/gzip"),
    "uncertainty": (".uncertainty.nii.gz", "application/gzip"),
    "stats": (".stats.json", "application/json"),
    "preview": (".preview.png", "image/png"),
    "dicom-seg": (".seg.dcm", "application/dicom"),
    "rtstruct": (".rtstruct.dcm", "application/dicom"),
}
# Whoever has one of these has the result.
_DELIVERING = ("labels", "dicom-seg", "rtstruct")
_REFUSALS: dict[int | str, dict[str, Any]] = {status: {"model": ErrorAnswer} for status in (404, 409, 422)}
Number = Annotated[int, Path(ge=1, le=9999, description="The number of a correction.")]


@router.get("/results/{form}", summary="A file of the result", response_class=FileResponse, responses=_REFUSALS)
async def read_result(job: JobId, form: Form, request: Request, serving: Here) -> Response:
    """The file, whose `ETag` is its SHA-256. 409 where the job is not written yet.

    The first complete download of labels in any form makes the job delivered.
    """
    record = await _finished(job, serving)
    path = await serving.threads.reader(serving.service.result, job, form)
    await _note("download", record, request, serving, form)
    if form not in {one.form for one in record.results}:
        record = await job_of(job, serving)  # it was made just now
    digest = next((one.sha256 for one in record.results if one.form == form), None)
    if digest is None:
        raise NotFoundError(f"the job has no {form}; expected one of its results")
    deliver: Sent | None = None
    if form in _DELIVERING and record.state is JobState.WRITTEN and record.origin.get("door") == DOOR["door"]:
        deliver = partial(serving.threads.quick, serving.service.store.make_delivered, job)
    ending, kind = _KINDS[form]
    return download(request, path, job + ending, kind, digest, deliver)


@router.post(
    "/corrections",
    status_code=201,
    summary="Keep a corrected segmentation",
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
        }
    },
    responses={**_REFUSALS, 413: {"model": ErrorAnswer}, 507: {"model": ErrorAnswer}},
)
async def correct_result(job: JobId, request: Request, serving: Here) -> CorrectionAnswer:
    """Keep corrected labels beside the result: a NIfTI on the grid of the result, with values that the model knows."""
    await _finished(job, serving)
    async with receive(request, serving) as upload:
        path, actor = only_file(upload).path, actor_of(request)
        number = await serving.threads.reader(serving.service.correct, job, path, actor=actor)
    return CorrectionAnswer(number=number)


@router.get("/corrections", summary="The corrections of a job", responses=_REFUSALS)
async def list_corrections(job: JobId, serving: Here) -> CorrectionsAnswer:
    """Their numbers, the oldest first."""
    await job_of(job, serving)
    return CorrectionsAnswer(numbers=await serving.threads.reader(serving.service.corrections, job))


@router.get(
    "/corrections/{number}/{form}",
    summary="A file of a correction",
    response_class=FileResponse,
    responses=_REFUSALS,
)
async def read_correction(
    job: JobId, number: Number, form: CorrectionForm, request: Request, serving: Here
) -> Response:
    """The correction as NIfTI or, of a DICOM scan, as a DICOM object."""
    record = await _finished(job, serving)
    path = await serving.threads.reader(serving.service.correction, job, number, form)
    await _note("download", record, request, serving, f"correction {number} {form}")
    digest = await serving.threads.reader(file_sha256, path)
    ending, kind = _KINDS[form]
    return download(request, path, f"{job}.correction-{number}{ending}", kind, digest)


async def _note(action: str, job: JobRecord, request: Request, serving: Serving, form: str) -> None:
    """Who took what; HEAD takes nothing. A log that cannot be written keeps no result back."""
    if request.method == "HEAD":
        return
    with suppress(MachineError):
        await serving.threads.quick(
            serving.service.audit.note,
            action,
            job=job.id,
            model=job.spec.model,
            actor=actor_of(request),
            outcome=form,
        )


async def _finished(job: str, serving: Serving) -> JobRecord:
    record = await job_of(job, serving)
    if record.state not in FINISHED:
        raise WrongStateError(f"the job is {record.state}; it has a result once it is written")
    return record
