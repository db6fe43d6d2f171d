"""What opens a PACS's door: a password or a token out of a file, which is read when the node starts."""

from __future__ import annotations

import base64
from pathlib import Path

from unetr.core.text.reading import read_text
from unetr.errors import InputError
from unetr.node.settings import HttpService

_MOST_BYTES = 10_000


def headers_of(service: HttpService) -> dict[str, str]:
    """The headers of each request. Raises InputError for a file that cannot be read; never says what is in it."""
    if service.user is not None and service.password_file is not None:
        both = f"{service.user}:{_secret(service.password_file)}".encode()
        return {"Authorization": f"Basic {base64.b64encode(both).decode()}"}
    if service.token_file is not None:
        return {"Authorization": f"Bearer {_secret(service.token_file)}"}
    return {}


def _secret(path: Path) -> str:
    found = read_text(path, "a password or token", _MOST_BYTES).strip()
    if not found or not found.isprintable():
        raise InputError(f"{path}: holds no password or token; expected one line of text")
    return found
