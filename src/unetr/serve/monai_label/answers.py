"""Answers with a file that is removed once it is sent, and MONAI Label's answer of two parts."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path

from fastapi.responses import StreamingResponse
from starlette.background import BackgroundTask

_PIECE = 1 << 18


def removing(folder: Path, then: Callable[[], Awaitable[object]] | None = None) -> BackgroundTask:
    """After an answer is sent, removes a folder that was made for it; then does what else is to be done."""

    async def after() -> None:
        shutil.rmtree(folder, ignore_errors=True)
        if then is not None:
            await then()

    return BackgroundTask(after)


def multipart(fields: Mapping[str, str], image: Path, after: BackgroundTask) -> StreamingResponse:
    """multipart/form-data of JSON fields and the file as `image`, under its own name."""
    boundary = f"unetr-{secrets.token_hex(16)}"
    head = "".join(
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\nContent-Type: application/json\r\n\r\n'
        f"{value}\r\n"
        for name, value in fields.items()
    )
    head += (
        f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="{image.name}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    )
    tail = f"\r\n--{boundary}--\r\n".encode()

    def body() -> Iterator[bytes]:
        yield head.encode()
        with image.open("rb") as handle:
            while piece := handle.read(_PIECE):
                yield piece
        yield tail

    size = len(head.encode()) + image.stat().st_size + len(tail)
    kind = f"multipart/form-data; boundary={boundary}"
    return StreamingResponse(body(), 200, {"Content-Length": str(size)}, kind, after)
