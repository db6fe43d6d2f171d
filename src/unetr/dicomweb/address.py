"""What needs no connection: addresses of a PACS, UIDs, and what may go wrong with it."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from unetr.errors import InputError, MachineError

_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
_LONGEST_UID = 64


class PacsError(MachineError):
    """The PACS does not answer, or answers with an error of its own; what was asked may succeed later."""


class BeyondLimitsError(InputError):
    """The PACS would send more than may come; to ask again would be no better."""


class NotInPacsError(InputError):
    """The PACS has no such study, series or instance."""


def is_uid(text: str) -> bool:
    """Whether this is a DICOM UID, and so nothing else in an address."""
    return len(text) <= _LONGEST_UID and _UID.fullmatch(text) is not None


def pacs_place(address: str) -> str:
    """Host and port. Raises InputError for what is no address of a PACS."""
    try:
        found = urlsplit(address)
        port = found.port or (443 if found.scheme == "https" else 80)
    except ValueError:
        found, port = urlsplit(""), 0
    if found.scheme not in ("http", "https") or not found.hostname or found.query or found.fragment:
        raise InputError(f"{_shown(address)}: is no address of a PACS; expected one like http://HOST:PORT/dicom-web")
    return f"{found.hostname}:{port}"


def _shown(address: str) -> str:
    """An address without a password that it may hold."""
    return re.sub(r"//[^/@]*@", "//", address)
