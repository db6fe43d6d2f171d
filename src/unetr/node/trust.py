"""Whom we trust when we connect, and how we show who we are: PEM files, read when a node starts."""

from __future__ import annotations

import ssl
from pathlib import Path

from unetr.errors import InputError


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


def _none() -> str:
    """For a key with a password: nobody is there to be asked for it."""
    return ""
