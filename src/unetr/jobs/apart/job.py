"""What a process of its own can be asked for, and the two JSON files that go between it and who asks."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter, ValidationError

from unetr.core.files.atomic import write_text
from unetr.core.text.reading import read_json
from unetr.core.text.records import first_problem
from unetr.errors import BatchError, CancelledError, InputError, MachineError, NoRoomError, StoppedError, UnetrError
from unetr.train.observer import TrainingObserver

RequestT = TypeVar("RequestT")
ResultT = TypeVar("ResultT")

_REQUEST = "request.json"
_ANSWER = "answer.json"
_KINDS = {
    kind.__name__: kind for kind in (InputError, BatchError, NoRoomError, MachineError, StoppedError, CancelledError)
}


@dataclass(frozen=True, slots=True)
class Job(Generic[RequestT, ResultT]):
    """Work that a process of its own can do.

    request: a dataclass. result: what its JSON must be. asks: whether `run` asks its observer whether to stop, and
    saves its state then; a job that does not is ended where it is.
    """

    name: str
    request: type[RequestT]
    result: TypeAdapter[ResultT]
    run: Callable[[RequestT, TrainingObserver], ResultT]
    asks: bool = False


def write_request(folder: Path, job: Job[RequestT, Any], request: RequestT) -> None:
    """Into the folder that is then given to `python -m unetr.jobs.apart`. Raises MachineError."""
    asked = {"job": job.name, "request": TypeAdapter(job.request).dump_python(request, mode="json")}
    write_text(folder / _REQUEST, json.dumps(asked, indent=1))


def read_request(folder: Path) -> tuple[str, dict[str, Any]]:
    """The job's name, and what is asked of it, unchecked. Raises InputError."""
    found = read_json(folder / _REQUEST, "what a job is asked for (JSON)")
    is_one = isinstance(found, dict) and set(found) == {"job", "request"}
    if not is_one or not isinstance(found["job"], str) or not isinstance(found["request"], dict):
        raise InputError(f"{folder / _REQUEST}: is no request; expected the keys job and request")
    return found["job"], found["request"]


def checked(job: Job[RequestT, Any], request: dict[str, Any]) -> RequestT:
    """Raises InputError that names the first key that is wrong."""
    known = {field.name for field in fields(job.request)}  # type: ignore[arg-type]  # a dataclass by contract
    problem = next((f"{key}: unknown key" for key in request if key not in known), "")
    try:
        if not problem:
            return TypeAdapter(job.request).validate_python(request)
    except ValidationError as error:
        problem = first_problem(error)
    raise InputError(f"request for the job {job.name}: {problem}")


def write_result(folder: Path, job: Job[Any, ResultT], result: ResultT) -> None:
    """Raises MachineError."""
    write_text(folder / _ANSWER, json.dumps({"result": job.result.dump_python(result, mode="json")}, indent=1))


def write_error(folder: Path, error: UnetrError) -> None:
    """An error of a kind that is derived from a known one is told as that. Raises MachineError."""
    write_text(folder / _ANSWER, json.dumps({"error": told_error(error)}))


def told_error(error: UnetrError) -> dict[str, str | None]:
    """An error as JSON; one of a kind that is derived from a known one is told as that."""
    kind = next(kind.__name__ for kind in type(error).__mro__ if kind.__name__ in _KINDS)
    return {"kind": kind, "message": str(error), "hint": error.hint}


def error_told(told: Mapping[str, Any]) -> UnetrError:
    """The inverse of `told_error`."""
    return _KINDS[told["kind"]](told["message"], hint=told["hint"])


def is_answered(folder: Path) -> bool:
    """Whether the job has ended with a result or an error."""
    return (folder / _ANSWER).exists()


def read_answer(folder: Path, job: Job[Any, ResultT]) -> ResultT:
    """The result; raises the error that the job ended with, as one of this process."""
    found = read_json(folder / _ANSWER, "what a job answered (JSON)")
    if "error" in found:
        raise error_told(found["error"])
    return job.result.validate_python(found["result"])
