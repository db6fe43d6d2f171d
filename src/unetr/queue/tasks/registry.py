"""The tasks that a child can be asked for. A new one is a request, a function and a line in TASKS."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter

from unetr.errors import InputError
from unetr.queue.tasks.reading import (
    CheckRequest,
    FormRequest,
    ReadyRequest,
    Source,
    ViewRequest,
    check,
    describe,
    form,
    ready,
    view,
)
from unetr.queue.tasks.segment import SegmentRequest, WarmRequest, segment, warm
from unetr.queue.tasks.talk import Talk

RequestT = TypeVar("RequestT")


@dataclass(frozen=True, slots=True)
class Task(Generic[RequestT]):
    """request: a dataclass, which goes to the child as JSON. run: returns what JSON can hold; raises UnetrError."""

    request: type[RequestT]
    run: Callable[[RequestT, Talk], dict[str, Any]]


TASKS: dict[str, Task[Any]] = {
    "warm": Task(WarmRequest, warm),
    "segment": Task(SegmentRequest, segment),
    "ready": Task(ReadyRequest, ready),
    "describe": Task(Source, describe),
    "view": Task(ViewRequest, view),
    "form": Task(FormRequest, form),
    "check": Task(CheckRequest, check),
}


def asked(name: str, request: object) -> dict[str, Any]:
    """A request as JSON."""
    made: dict[str, Any] = TypeAdapter(TASKS[name].request).dump_python(request, mode="json")
    return made


def run_task(name: str, request: Mapping[str, Any], talk: Talk) -> dict[str, Any]:
    """Raises UnetrError, InputError where there is no such task."""
    if name not in TASKS:
        raise InputError(f"{name}: is no task; expected one of {', '.join(TASKS)}")
    task = TASKS[name]
    return task.run(TypeAdapter(task.request).validate_python(request), talk)
