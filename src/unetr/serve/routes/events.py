"""What happens to a job, as it happens: server-sent events that a client can resume."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Header, Request, Response
from sse_starlette import EventSourceResponse, ServerSentEvent

from unetr.queue.record import ENDED, WAITING, JobEvent, JobRecord
from unetr.serve.routes.jobs import JobId, job_of
from unetr.serve.schemas import ErrorAnswer, job_answer
from unetr.serve.web.errors import BusyError, NotFoundError
from unetr.serve.web.serving import Here, Serving

router = APIRouter(prefix="/api/jobs", tags=["jobs"])
# A comment in the stream, so that nobody on the way takes it for dead.
_HEARTBEAT_S = 15
# Seconds without news after which a listener looks whether the job is still there.
_LOOK_S = 10.0
_MOST_LISTENERS = 400


@router.get(
    "/{job}/events",
    summary="What happens to a job, as it happens",
    response_class=EventSourceResponse,
    responses={200: {"content": {"text/event-stream": {}}}, 404: {"model": ErrorAnswer}, 503: {"model": ErrorAnswer}},
)
async def job_events(
    job: JobId,
    request: Request,
    serving: Here,
    last_event_id: Annotated[int | None, Header(ge=0, le=2**62, description="Go on after this event.")] = None,
) -> Response:
    """Server-sent events, from the first or after `Last-Event-ID`.

    `state`: the job is in this state now, with a `reason` where it waits for more than its turn; its id is where to go
    on. `progress`: windows done, of all. `end`: the job as `/api/jobs/{job}` tells it; nothing comes after it. An id
    that is none of this job's events, as of a job that was removed and asked for again, is no place to go on: all of
    them are told.
    """
    await job_of(job, serving)
    if request.method == "HEAD":
        return Response(media_type="text/event-stream")
    if serving.meters.listeners >= _MOST_LISTENERS:
        raise BusyError(f"{_MOST_LISTENERS} clients listen already, which is the most; ask /api/jobs/{job} instead")
    return EventSourceResponse(_events(job, serving, last_event_id or 0), ping=_HEARTBEAT_S)


async def _events(job: str, serving: Serving, last: int) -> AsyncIterator[ServerSentEvent]:
    """The events after `last`, if that is one of them. Ends after the end, or when the job has been removed."""
    service, threads = serving.service, serving.threads
    if last and all(one.number != last for one in await threads.quick(service.store.events, job)):
        last = 0
    seen, told = 0, None
    serving.meters.listeners += 1
    try:
        while True:
            # The job first: every change up to it is among the events that are read after it.
            record = await job_of(job, serving)
            events = await threads.quick(service.store.events, job, last)
            for event in events:
                last = event.number
                now = record if event is events[-1] and event.state == record.state else None
                yield ServerSentEvent(json.dumps(_state(event, now)), event="state", id=str(last))
            if record.state in ENDED and (not events or events[-1].state in ENDED):
                yield ServerSentEvent(job_answer(record).model_dump_json(), event="end")
                return
            progress = service.progress(job)
            if progress is not None and progress != told:
                told = progress
                yield ServerSentEvent(json.dumps({"done": progress.done, "of": progress.of}), event="progress")
            seen = await serving.waits.change(job, seen, _LOOK_S)
    except NotFoundError:
        return
    finally:
        serving.meters.listeners -= 1


def _state(event: JobEvent, now: JobRecord | None) -> dict[str, Any]:
    """now: the job, where it is in this state still."""
    told = {"job": event.job, "state": event.state, "at_s": event.at_s}
    if now is None or now.error is None or now.state not in WAITING:
        return told
    return told | {"reason": now.error.message}
