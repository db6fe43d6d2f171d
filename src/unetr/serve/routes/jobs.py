"""Jobs: asking for one, how it stands, and stopping it."""

from __future__ import annotations

import time
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Path, Query, Request, Response

from unetr.queue.record import JobRecord, JobState
from unetr.serve.schemas import ErrorAnswer, Id, JobAnswer, JobBody, JobsAnswer, job_answer
from unetr.serve.web.errors import found
from unetr.serve.web.serving import Here, Serving, actor_of

router = APIRouter(prefix="/api/jobs", tags=["jobs"])
JobId = Annotated[str, Path(pattern=Id, description="The id of a job.")]
# What a job that was asked for here says of where it came from, beside who asked.
DOOR = {"door": "http"}
# Jobs are removed after a day, so that nobody turns further pages than this.
_MOST_SKIPPED = 10_000


@router.post(
    "",
    status_code=201,
    summary="Ask for a segmentation",
    responses={
        200: {"model": JobAnswer, "description": "The same work was asked for before: its job."},
        **{status: {"model": ErrorAnswer} for status in (404, 422, 429, 503)},
    },
)
async def submit_job(body: JobBody, request: Request, response: Response, serving: Here) -> JobAnswer:
    """The job that does this. The same scan, model and settings are one job, however often they are asked for.

    429 where as many jobs wait as may: `Retry-After` says in how many seconds to ask again.
    """
    await serving.threads.quick(found, serving.service.store.scan, body.scan)
    origin = DOOR | {"actor": actor_of(request)}
    began = time.time()
    job = await serving.threads.reader(
        serving.service.submit, body.scan, body.model, body.settings.settings(), origin=origin
    )
    if job.created_s < began:
        response.status_code = 200
    response.headers["Location"] = f"/api/jobs/{job.id}"
    return job_answer(job)


@router.get("", summary="List jobs")
async def list_jobs(
    serving: Here,
    state: Annotated[list[JobState] | None, Query(description="Only jobs in these states.")] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
    skip: Annotated[int, Query(ge=0, le=_MOST_SKIPPED)] = 0,
) -> JobsAnswer:
    """Jobs, the newest first."""
    states = tuple(dict.fromkeys(state or JobState))
    jobs = await serving.threads.quick(serving.service.store.jobs, states, skip + limit)
    counts = await serving.threads.quick(serving.service.store.counts)
    total, end = sum(counts[one] for one in states), skip + limit
    query = urlencode({"state": state or [], "limit": limit, "skip": end}, doseq=True)
    return JobsAnswer(
        jobs=[job_answer(job, serving.service.progress(job.id)) for job in jobs[skip:]],
        total=total,
        next=f"/api/jobs?{query}" if end < total and end <= _MOST_SKIPPED else None,
    )


@router.get("/{job}", summary="How a job stands", responses={404: {"model": ErrorAnswer}})
async def read_job(job: JobId, serving: Here) -> JobAnswer:
    """The job as it is now; `/events` tells every change."""
    return await _told(job, serving)


@router.delete("/{job}", summary="Stop a job", responses={404: {"model": ErrorAnswer}})
@router.post("/{job}/cancel", summary="Stop a job", responses={404: {"model": ErrorAnswer}})
async def cancel_job(job: JobId, request: Request, serving: Here) -> JobAnswer:
    """A job that waits is cancelled; one that runs stops between two windows; one that has ended stays as it is."""
    await job_of(job, serving)
    await serving.threads.quick(serving.service.cancel, job, actor_of(request))
    return await _told(job, serving)


async def job_of(job: str, serving: Serving) -> JobRecord:
    """Raises NotFoundError."""
    return await serving.threads.quick(found, serving.service.store.job, job)


async def _told(job: str, serving: Serving) -> JobAnswer:
    return job_answer(await job_of(job, serving), serving.service.progress(job))
