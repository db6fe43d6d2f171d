"""Scans: uploading one, what is known of it, and the scan as the page shows it."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import FileResponse

from unetr.queue.record import ScanRecord
from unetr.serve.schemas import ErrorAnswer, Id, ScanAnswer, scan_answer
from unetr.serve.web.downloads import SentFile
from unetr.serve.web.errors import found
from unetr.serve.web.serving import Here, Serving
from unetr.serve.web.uploads import receive

router = APIRouter(prefix="/api/scans", tags=["scans"])
ScanId = Annotated[str, Path(pattern=Id, description="The id of a scan.")]
_BINARY = {"schema": {"type": "string", "format": "binary"}}
_BODY: dict[str, Any] = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "properties": {"files": {"type": "array", "items": {"type": "string", "format": "binary"}}},
            }
        },
        "application/octet-stream": _BINARY,
    },
}


@router.post(
    "",
    status_code=201,
    summary="Upload a scan",
    openapi_extra={"requestBody": _BODY},
    responses={status: {"model": ErrorAnswer} for status in (400, 413, 422, 503, 507)},
)
async def upload_scan(request: Request, serving: Here) -> ScanAnswer:
    """Keep the files of one scan: NIfTI, NRRD or MetaImage (one file a channel, in order), DICOM files, or a zip.

    Each part of a multipart body that has a file name is a file, whatever its field is called; any other body is one
    file. The names are not used. The same files again are the same scan.
    """
    async with receive(request, serving) as upload:
        scan = await serving.threads.reader(serving.service.keep_scan, upload.files)
    return scan_answer(scan)


@router.get("/{scan}", summary="What a scan is", responses={404: {"model": ErrorAnswer}, 422: {"model": ErrorAnswer}})
async def read_scan(scan: ScanId, serving: Here) -> ScanAnswer:
    """The scan with its facts; the first time, it is read, which may take some seconds. 422 where it is no scan."""
    record = await _scan(scan, serving)
    if not record.facts:
        await serving.threads.reader(serving.service.describe, scan)
        record = await _scan(scan, serving)
    return scan_answer(record)


@router.get(
    "/{scan}/view.nii",
    summary="The scan as NIfTI, on the grid of its labels",
    response_class=FileResponse,
    responses={404: {"model": ErrorAnswer}, 422: {"model": ErrorAnswer}},
)
async def view_scan(
    scan: ScanId,
    serving: Here,
    series: Annotated[list[str] | None, Query(max_length=16, description="As in a job's settings.")] = None,
    model: Annotated[str | None, Query(max_length=200, description="The model that it is shown for.")] = None,
) -> Response:
    """The scan exactly as it is predicted on. Parts of it may be asked for with `Range`."""
    await _scan(scan, serving)
    path = await serving.threads.reader(serving.service.view, scan, tuple(series or ()), model)
    headers = {"Cache-Control": "private, no-cache"}
    return SentFile(path, "application/octet-stream", f"{scan}.nii", headers)


async def _scan(scan: str, serving: Serving) -> ScanRecord:
    return await serving.threads.quick(found, serving.service.store.scan, scan)
