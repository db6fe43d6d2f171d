"""Files of a folder as they are. Which there are is found once, so that no address can lead anywhere else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fastapi import Request
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from unetr.core.files.digest import file_sha256
from unetr.serve.web.downloads import page_file
from unetr.serve.web.errors import NotFoundError

# Said here, since systems differ in what they take a suffix for.
KINDS = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".map": "application/json",
    ".mjs": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".wasm": "application/wasm",
    ".webmanifest": "application/manifest+json",
    ".woff2": "font/woff2",
}
_METHODS = ("GET", "HEAD")


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    sha256: str


def files_below(folder: Path) -> Mapping[str, _File]:
    """Address below the folder -> file, of every kind that is known here; "" is index.html."""
    found = {
        path.relative_to(folder).as_posix(): _File(path, file_sha256(path))
        for path in sorted(folder.rglob("*"))
        if path.suffix in KINDS and path.is_file()
    }
    return found | ({"": found["index.html"]} if "index.html" in found else {})


def static_files(folder: Path) -> ASGIApp:
    """Answers what no route does: GET and HEAD of the files of a folder, whose index.html is at its top. Raises
    NotFoundError for all else, and HTTPException for other methods of what is there."""
    files = files_below(folder)

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        found = files.get(scope["path"].removeprefix("/"))
        if found is None:
            raise NotFoundError("there is nothing at this address")
        if scope["method"] not in _METHODS:
            raise HTTPException(405, headers={"Allow": ", ".join(_METHODS)})
        told = page_file(Request(scope), found.path, KINDS[found.path.suffix], found.sha256)
        await told(scope, receive, send)

    return answer
