"""Answers with a file that is removed once it is sent, and MONAI Label's answer of two parts."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from fastapi.responses import Response
from starlette.background import BackgroundTask

from unetr.serve.web.downloads import Sent, Streamed

_PIECE = 1 << 18


def removing(folder: Path) -> BackgroundTask:
    """After an answer has ended, however that was, removes a folder that was made for it."""
    return BackgroundTask(shutil.rmtree, folder, ignore_errors=True)


def multipart(fields: Mapping[str, str], image: Path, sent: Sent, after: BackgroundTask) -> Response:
    """multipart/form-data of JSON fields and the file as `image`, under its own name. sent: called once all of it went
    to the client. after: done at the end, whatever it is."""
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
    return Streamed(body(), 200, {"Content-Length": str(size)}, kind, sent, after)
