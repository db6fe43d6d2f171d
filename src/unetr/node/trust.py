"""Whom we trust when we connect, and how we show who we are: PEM files and secrets, read when a node starts."""

from __future__ import annotations

import base64
import ssl
from pathlib import Path

from unetr.core.text.reading import read_text
from unetr.errors import InputError

_MOST_BYTES = 10_000


def trusting(certificates: Path | None, certificate: Path | None = None, key: Path | None = None) -> ssl.SSLContext:
    """For connections that we make: names and certificates of others are checked.

    certificates: of those that are trusted beside the system's. certificate, key: ours, where one is asked for.
    Raises InputError for files that cannot be used; it says nothing of what is in them.
    """
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    file = certificates
    try:
        if certificates is not None:
            context.load_verify_locations(certificates)
        file = certificate
        if certificate is not None:
            context.load_cert_chain(certificate, key, password=_none)
    except (OSError, ssl.SSLError) as error:
        raise InputError(f"{file}: cannot be used ({type(error).__name__}); expected a PEM file") from error
    return context


def authorization(user: str | None, password_file: Path | None, token_file: Path | None) -> dict[str, str]:
    """The header that says to an HTTP service who asks; none where nobody is named.

    Raises InputError for a file that cannot be read; it never says what is in it.
    """
    if token_file is not None:
        return {"Authorization": f"Bearer {_secret(token_file)}"}
    if user is None:
        return {}
    both = f"{user}:{'' if password_file is None else _secret(password_file)}".encode()
    return {"Authorization": f"Basic {base64.b64encode(both).decode()}"}


def _secret(path: Path) -> str:
    found = read_text(path, "a file with the secret, a password or token", _MOST_BYTES).strip()
    if not found or not found.isprintable():
        raise InputError(f"{path}: holds no password or token; expected one line of text")
    return found


def _none() -> str:
    """For a key with a password: nobody is there to be asked for it."""
    return ""
