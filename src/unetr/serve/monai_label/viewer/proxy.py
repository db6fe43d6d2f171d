"""The PACS's DICOMweb for the viewer that this server gives to browsers: reading alone, of the one PACS alone.

An address is passed on only if it is one of DICOMweb's, made of UIDs and words known here, so that nothing else of the
PACS's server can be reached. What is stored into a PACS goes through `unetr node`.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx
from fastapi import FastAPI, Request
from starlette.background import BackgroundTask

from unetr.dicomweb.address import PacsError, pacs_place
from unetr.serve.web.downloads import Streamed
from unetr.serve.web.errors import NotFoundError

_UID = r"[0-9][0-9.]{0,63}"
_INSTANCE = (
    rf"instances/{_UID}(/(metadata|rendered|thumbnail|frames/[0-9,]+(/(rendered|thumbnail))?|bulk/[0-9a-fA-F/]+))?"
)
_BELOW = rf"(metadata|rendered|thumbnail|instances|{_INSTANCE})"
_SERIES = rf"series(/{_UID}(/{_BELOW})?)?"
_KNOWN = re.compile(rf"series|instances|studies(/{_UID}(/({_SERIES}|{_BELOW}))?)?")
_ASKED = ("accept",)
_TOLD = ("content-type", "content-encoding", "content-length", "etag", "last-modified")
_MOST_CONNECTIONS = 16
_TIMEOUT_S = 30.0


@dataclass(slots=True)
class PacsProxy:
    """The routes. address: of the PACS's DICOMweb. Raises InputError for what is none."""

    address: str
    place: str = field(init=False)
    _client: httpx.AsyncClient | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.place = pacs_place(self.address)

    @asynccontextmanager
    async def lifespan(self, _app: FastAPI) -> AsyncIterator[None]:
        """Holds the connections open while the server runs."""
        limits = httpx.Limits(max_connections=_MOST_CONNECTIONS)
        async with httpx.AsyncClient(timeout=_TIMEOUT_S, limits=limits, trust_env=False) as self._client:
            yield
        self._client = None

    async def read(self, request: Request, path: str) -> Streamed:
        """What the PACS answers, as it arrives. Raises NotFoundError for other addresses, PacsError."""
        if not _KNOWN.fullmatch(path):
            raise NotFoundError("there is no such address of DICOMweb")
        if self._client is None:
            raise PacsError("the server is about to end")
        url = httpx.URL(f"{self.address.rstrip('/')}/{path}", query=request.scope["query_string"] or None)
        headers = {name: value for name, value in request.headers.items() if name in _ASKED}
        try:
            answer = await self._client.send(self._client.build_request("GET", url, headers=headers), stream=True)
        except httpx.HTTPError as error:
            raise PacsError(f"the PACS at {self.place} does not answer: {type(error).__name__}") from error
        told = {name: answer.headers[name] for name in _TOLD if name in answer.headers}
        kind = told.pop("content-type", None)
        return Streamed(answer.aiter_raw(), answer.status_code, told, kind, after=BackgroundTask(answer.aclose))
