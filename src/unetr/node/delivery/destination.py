"""Where results go, and what is wanted there. Plain data: a node's settings are read into it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# A job's origin has what is wanted where under this key: {destination: [form, ...]}.
DELIVER = "deliver"


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """A PACS that results are sent to. Exactly one of `stow` and `dimse` is given.

    name: as rules name it. timeout_s: without a word from it, a try has failed.
    """

    name: str
    stow: StowService | None = None
    dimse: DimseNode | None = None
    timeout_s: float = 30.0

    def __post_init__(self) -> None:
        if (self.stow is None) == (self.dimse is None):
            raise ValueError("a destination is reached by DICOMweb or by DIMSE")


@dataclass(frozen=True, slots=True, kw_only=True)
class StowService:
    """A DICOMweb service. url: its root, such as http://127.0.0.1:8042/dicom-web.

    user, password_file: for HTTP's basic authentication. token_file: for a bearer token. Secrets stay in their files,
    which are read at each start. certificates: a file of those that are trusted beside the system's.
    """

    url: str
    user: str | None = None
    password_file: Path | None = field(default=None, repr=False)
    token_file: Path | None = field(default=None, repr=False)
    certificates: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DimseNode:
    """A DICOM node reached by C-STORE. aet: its title. our_aet: how we call ourselves, which it may have to know.

    tls: who is trusted and who we are; None for a connection that is not encrypted.
    """

    host: str
    port: int
    aet: str
    our_aet: str = "UNETR"
    tls: NodeTls | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeTls:
    """PEM files. certificates: of those that are trusted beside the system's. certificate, key: ours, where the
    destination asks for one."""

    certificates: Path | None = None
    certificate: Path | None = None
    key: Path | None = field(default=None, repr=False)


def wanted(deliveries: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """The part of a job's origin that says which forms go where: {destination: forms}."""
    return {DELIVER: {name: list(forms) for name, forms in deliveries.items()}}


def wanted_of(origin: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The pairs of destination and form in a job's origin."""
    return [(name, form) for name, forms in origin.get(DELIVER, {}).items() for form in forms]
