"""What goes wrong, as an answer: a status and one JSON object with words for people. Never a traceback."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, TypeVar

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from unetr.errors import InputError, MachineError, NoRoomError, UnetrError, expected_error
from unetr.queue.store import QueueFullError

_T = TypeVar("_T")

# Seconds after which a client whose job found no room asks again.
RETRY_AFTER_S = 5
_REASONS = {404: "there is nothing at this address", 405: "this address does not take this method"}


class RefusedError(InputError):
    """Input that has a status of its own."""

    status: ClassVar[int] = 400


class NotFoundError(RefusedError):
    """There is no such scan, job or result."""

    status = 404


class TooLargeError(RefusedError):
    """More than may be sent at once."""

    status = 413


class WrongStateError(RefusedError):
    """The job is not at the point where this can be asked for."""

    status = 409


class BusyError(MachineError):
    """As many clients are served as can be."""


def answer(error: UnetrError, folder: str = "") -> JSONResponse:
    """The answer to an expected error. folder: the queue's, which is left out of the words."""
    message = str(error).replace(f"{folder}/", "") if folder else str(error)
    headers = {"Retry-After": str(RETRY_AFTER_S)} if isinstance(error, QueueFullError) else None
    told = {"kind": type(error).__name__, "message": message, "hint": error.hint}
    return JSONResponse({"error": told}, status_of(error), headers)


def status_of(error: UnetrError) -> int:
    """The status that an expected error is answered with."""
    if isinstance(error, QueueFullError):
        return 429
    if isinstance(error, RefusedError):
        return error.status
    if isinstance(error, InputError):
        return 422
    return 507 if isinstance(error, NoRoomError) else 503


def tell_errors(app: FastAPI, folder: str) -> None:
    """From now on, the app answers errors in this form. folder: the queue's."""

    async def expected(_request: Request, error: Exception) -> JSONResponse:
        told = expected_error(error)
        if told is None:
            raise error
        return answer(told, folder)

    for kind in (UnetrError, OSError, MemoryError):
        app.add_exception_handler(kind, expected)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(ClientDisconnect, _gone)
    app.add_exception_handler(Exception, _defect)


async def _invalid(_request: Request, error: Exception) -> JSONResponse:
    """What of a request is not as the document of the API says; its values are not repeated."""
    assert isinstance(error, RequestValidationError)  # noqa: S101
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return answer(InputError(f"{where}: {first['msg']}; expected a request as /openapi.json describes it"))


async def _refused(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101
    told = {"kind": "HTTPError", "message": _REASONS.get(error.status_code, str(error.detail)), "hint": None}
    return JSONResponse({"error": told}, error.status_code, error.headers)


async def _gone(_request: Request, _error: Exception) -> JSONResponse:
    """Nobody reads it; but the log has a status."""
    return answer(RefusedError("the client went away before its request was complete"))


async def _defect(_request: Request, _error: Exception) -> JSONResponse:
    message = "the server met a defect of its own; its log names the place"
    return JSONResponse({"error": {"kind": "Defect", "message": message, "hint": None}}, 500)


def found(look_up: Callable[[str], _T], name: str) -> _T:
    """What `look_up` has under this name. Raises NotFoundError."""
    try:
        return look_up(name)
    except InputError as error:
        raise NotFoundError(str(error)) from error
