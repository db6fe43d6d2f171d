"""Files that are sent whole or in part, and knowing when all of one has been sent."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
from anyio import to_thread
from fastapi import Request, Response
from fastapi.responses import FileResponse, StreamingResponse
from starlette.background import BackgroundTask
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import ContentStream
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from unetr.serve.web.errors import NotFoundError

Sent = Callable[[], Awaitable[object]]

_BYTES = re.compile(r"\s*bytes\s*=(?P<parts>.*)", re.IGNORECASE | re.ASCII)
_PART = re.compile(r"[ \t]*(?P<first>[0-9]{0,18})-(?P<last>[0-9]{0,18})[ \t]*", re.ASCII)
_MOST_PARTS = 16


def download(request: Request, path: Path, name: str, kind: str, sha256: str, sent: Sent | None = None) -> Response:
    """A file as an answer, or that the client has it already. sent: called once all of it went to the client.

    name: what the client may call it, which is made of our own words. kind: its media type.
    """
    # It never changes, but must not be kept where another person could find it.
    return _file(request, path, name, kind, sha256, "private, no-cache", sent)


def page_file(request: Request, path: Path, kind: str, sha256: str) -> Response:
    """A file that is shown rather than saved. Browsers keep it, and ask whether it is still the same."""
    return _file(request, path, None, kind, sha256, "no-cache")


def _file(
    request: Request, path: Path, name: str | None, kind: str, sha256: str, cache: str, sent: Sent | None = None
) -> Response:
    headers = {"ETag": f'"{sha256}"', "Cache-Control": cache}
    if _has(request.headers.get("if-none-match", ""), sha256):
        return Response(status_code=304, headers=headers)
    return SentFile(path, kind, name, headers, sent)


def _has(told: str, sha256: str) -> bool:
    return any(one.strip().removeprefix("W/") in (f'"{sha256}"', "*") for one in told.split(","))


def wanted_parts(told: str, size: int) -> list[tuple[int, int]] | None:
    """The parts of a file that a Range header asks for and that are there: first and last byte of each.

    size: of the file in bytes. None for a header that is not understood, which is to be ignored (RFC 9110, 14.2).

    >>> wanted_parts("bytes=0-9, -5, 700-", 100)
    [(0, 9), (95, 99)]
    """
    header = _BYTES.fullmatch(told)
    found = [_PART.fullmatch(one) for one in header["parts"].split(",") if one.strip()] if header else []
    if not 0 < len(found) <= _MOST_PARTS:
        return None
    parts = []
    for one in found:
        if one is None or not (one["first"] or one["last"]):
            return None
        if not one["first"]:
            first, last = max(0, size - int(one["last"])), size - 1
        else:
            first, last = int(one["first"]), int(one["last"]) if one["last"] else size - 1
            if one["last"] and last < first:
                return None
        if first < size:
            parts.append((first, min(last, size - 1)))
    return parts


class SentFile(FileResponse):
    """A file, or the parts of it that are asked for. sent: called once all of it went to the client.

    name: that the client may save it under; None for what is shown. after: done at the end, whatever it is.
    """

    def __init__(
        self,
        path: Path,
        kind: str,
        name: str | None = None,
        headers: dict[str, str] | None = None,
        sent: Sent | None = None,
        after: BackgroundTask | None = None,
    ) -> None:
        super().__init__(path, media_type=kind, filename=name, headers=headers)
        self._sent, self._after = sent, after

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI. Raises NotFoundError, and HTTPException where no part that is asked for is there."""
        async with then(self._after):
            try:
                self.stat_result = found = await to_thread.run_sync(os.stat, self.path)
            except FileNotFoundError as error:
                raise NotFoundError("this file was removed just now") from error
            self.set_stat_headers(found)
            await noting(super().__call__, self._sent, self._asked(scope, found.st_size), receive, send)

    def _asked(self, scope: Scope, size: int) -> Scope:
        """The request with a Range header of parts that are there, or with none where it does not count."""
        headers = Headers(scope=scope)
        told, if_range = headers.get("range"), headers.get("if-range")
        if told is None:
            return scope
        parts = None
        if scope["method"] == "GET" and if_range in (None, self.headers["etag"], self.headers["last-modified"]):
            parts = wanted_parts(told, size)
        if parts == []:
            whole = {"Content-Range": f"bytes */{size}"}
            raise HTTPException(416, f"the file has {size} bytes, and none of those that are asked for", whole)
        kept = [(name, value) for name, value in scope["headers"] if name not in (b"range", b"if-range")]
        if parts:
            kept.append((b"range", ("bytes=" + ",".join(f"{first}-{last}" for first, last in parts)).encode()))
        return {**scope, "headers": kept}


class Streamed(StreamingResponse):
    """What is not a file. sent and after: as of SentFile."""

    def __init__(
        self,
        body: ContentStream,
        status: int,
        headers: dict[str, str],
        kind: str | None,
        sent: Sent | None = None,
        after: BackgroundTask | None = None,
    ) -> None:
        super().__init__(body, status, headers, kind)
        self._body, self._sent, self._after = body, sent, after

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        async with then(self._after):
            try:
                await noting(super().__call__, self._sent, scope, receive, send)
            finally:
                await _close(self._body)


async def _close(body: ContentStream) -> None:
    """Ends a generator where it stands; otherwise what it has open would be so until it is found to be garbage."""
    if isinstance(body, AsyncGenerator):
        with anyio.CancelScope(shield=True):
            await body.aclose()
    elif isinstance(body, Generator):
        body.close()


@asynccontextmanager
async def then(after: BackgroundTask | None) -> AsyncIterator[None]:
    """Whatever an answer ends with, such as a client that goes away or asks for what is not there, does `after` then.
    Of its own, Starlette does so only where all went well."""
    try:
        yield
    finally:
        if after is not None:
            with anyio.CancelScope(shield=True):
                await after()


async def noting(answer: ASGIApp, sent: Sent | None, scope: Scope, receive: Receive, send: Send) -> None:
    """Sends an answer, and calls `sent` if all of it went to a client that was still there at its end."""
    whole = ended = False

    async def watched(message: Message) -> None:
        nonlocal whole, ended
        last = message["type"] == "http.response.body" and not message.get("more_body")
        if message["type"] == "http.response.start":
            whole = message["status"] == 200 and scope["method"] != "HEAD"
        elif whole and last and await _is_gone(receive):
            whole = False
        await send(message)
        ended = last

    await answer(scope, receive, watched)
    if whole and ended and sent is not None:
        await sent()


async def _is_gone(receive: Receive) -> bool:
    """Whether the client has gone away by now."""
    message: Message = {}
    with anyio.CancelScope() as scope:
        scope.cancel()
        message = await receive()
    return message.get("type") == "http.disconnect"
