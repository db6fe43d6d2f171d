"""A PACS by DICOMweb: QIDO-RS to find a series, WADO-RS to fetch it. Only the one address is ever asked."""

from __future__ import annotations

import hashlib
import os
import ssl
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx

from unetr.core.files.atomic import machine_error
from unetr.core.text.reading import decode_text, parse_json
from unetr.dicomweb.address import BeyondLimitsError, NotInPacsError, PacsError, is_uid, pacs_place
from unetr.dicomweb.parts import boundary_of, parts

_AS_STORED = 'multipart/related; type="application/dicom"; transfer-syntax=*'
_MOST_ANSWER_BYTES = 64_000_000
_CONNECT_S = 10.0
STUDY_UID, SERIES_UID, INSTANCE_UID = "0020000D", "0020000E", "00080018"
MODALITY = "00080060"


Body = Iterable[bytes]
"""What is posted, piece by piece."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """An instance as the PACS has it, complete on disk. sha256: as hexadecimal."""

    path: Path
    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchLimits:
    """What one series may take. Beyond it, fetching ends with BeyondLimitsError and leaves nothing."""

    most_bytes: int = 4_000_000_000
    most_files: int = 20_000


_LIMITS = FetchLimits()


class DicomWeb:
    """A PACS. To be closed, or used as a context; several threads may use one.

    address: of its DICOMweb, such as http://127.0.0.1:8042/dicom-web. headers: sent with each request, such as
    Authorization. verify: what is trusted, None for the usual certificates. Proxies of the environment are not used and
    redirects not followed: nobody else learns what is asked.
    Raises InputError for what is no such address.
    """

    def __init__(
        self,
        address: str,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 30.0,
        verify: ssl.SSLContext | None = None,
    ) -> None:
        self.place = pacs_place(address)
        self._base = address.rstrip("/")
        self._timeout = _timeout(timeout_s)
        self._client = httpx.Client(
            headers=dict(headers or {}), trust_env=False, verify=True if verify is None else verify
        )

    def close(self) -> None:
        """Ends its connections."""
        self._client.close()

    def __enter__(self) -> DicomWeb:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        self.close()

    def search(self, path: str, query: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
        """QIDO-RS: the entries as DICOM JSON. path: such as "series". Raises PacsError, NotInPacsError."""
        with self._asked(path, {"Accept": "application/dicom+json"}, query) as answer:
            if answer.status_code == httpx.codes.NO_CONTENT:
                return []
            told = b"".join(_bounded(answer.iter_bytes(), _MOST_ANSWER_BYTES))
        found = parse_json(_text(told), f"the answer of the PACS at {self.place}")
        if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
            raise PacsError(f"the PACS at {self.place} answers a search with something else than a list")
        return found

    def study_of(self, series: str) -> str:
        """The StudyInstanceUID of a series. Raises NotInPacsError."""
        if not is_uid(series):
            raise NotInPacsError("there is no such series; expected a SeriesInstanceUID")
        entries = self.search("series", {"SeriesInstanceUID": series, "includefield": STUDY_UID})
        for entry in entries:
            study = value_of(entry, STUDY_UID)
            if value_of(entry, SERIES_UID) == series and is_uid(study):
                return study
        raise NotInPacsError(f"the PACS at {self.place} has no such series")

    def fetch(self, study: str, series: str, into: Path, limits: FetchLimits = _LIMITS) -> list[Fetched]:
        """WADO-RS: the instances of a series as they are stored, in the folder `into` as 00001.dcm and so on.

        Each is flushed to the disk. Raises PacsError, NotInPacsError, BeyondLimitsError, and InputError for an answer
        that is cut off or is none; then none of the files is left.
        """
        if not (is_uid(study) and is_uid(series)):
            raise NotInPacsError("there is no such series; expected its UIDs")
        fetched: list[Fetched] = []
        try:
            with self._asked(f"studies/{study}/series/{series}", {"Accept": _AS_STORED}) as answer:
                boundary = boundary_of(answer.headers.get("content-type", ""))
                for body in parts(_bounded(answer.iter_bytes(), limits.most_bytes), boundary):
                    if len(fetched) >= limits.most_files:
                        raise BeyondLimitsError(
                            f"the series has more than {limits.most_files} instances, which is the most"
                        )
                    path = into / f"{len(fetched) + 1:05d}.dcm"
                    fetched.append(Fetched(path, "", 0))
                    fetched[-1] = _kept(path, body)
            if not fetched:
                raise NotInPacsError(f"the PACS at {self.place} has no instances of this series")
        except BaseException:
            for each in fetched:
                each.path.unlink(missing_ok=True)
            raise
        return fetched

    @contextmanager
    def asked(
        self,
        path: str,
        headers: Mapping[str, str],
        query: Mapping[str, str] | None = None,
        body: Body | None = None,
        timeout_s: float | None = None,
    ) -> Iterator[httpx.Response]:
        """Any answer, whose body has not been read. body: what is posted, None to get. timeout_s: in place of the usual
        one. Raises PacsError without an answer."""
        method, limit = "GET" if body is None else "POST", self._timeout if timeout_s is None else _timeout(timeout_s)
        try:
            with self._client.stream(
                method, f"{self._base}/{path}", headers=headers, params=query, content=body, timeout=limit
            ) as answer:
                yield answer
        except httpx.HTTPError as error:
            # The error's own words hold the whole address, which may hold what was searched for.
            raise PacsError(f"the PACS at {self.place} does not answer: {type(error).__name__}") from error

    @contextmanager
    def _asked(
        self, path: str, headers: Mapping[str, str], query: Mapping[str, str] | None = None
    ) -> Iterator[httpx.Response]:
        """A successful answer."""
        with self.asked(path, headers, query) as answer:
            if answer.status_code == httpx.codes.NOT_FOUND:
                raise NotInPacsError(f"the PACS at {self.place} has nothing of this kind")
            if not answer.is_success:
                raise PacsError(f"the PACS at {self.place} answers with status {answer.status_code}")
            yield answer


def _timeout(silent_s: float) -> httpx.Timeout:
    """How long it may say nothing. A PACS that is there is reached sooner."""
    return httpx.Timeout(silent_s, connect=min(silent_s, _CONNECT_S))


def value_of(entry: Mapping[str, Any], tag: str) -> str:
    """The first value of an attribute of DICOM JSON, empty where there is none."""
    attribute = entry.get(tag)
    values = attribute.get("Value") if isinstance(attribute, dict) else None
    return str(values[0]) if isinstance(values, list) and values else ""


def _kept(path: Path, body: Iterable[bytes]) -> Fetched:
    digest, size = hashlib.sha256(), 0
    try:
        with path.open("xb") as handle:
            for piece in body:
                handle.write(piece)
                digest.update(piece)
                size += len(piece)
            handle.flush()
            os.fsync(handle.fileno())
    except OSError as error:
        raise machine_error(path, error) from error
    return Fetched(path, digest.hexdigest(), size)


def _bounded(pieces: Iterable[bytes], most: int) -> Iterator[bytes]:
    size = 0
    for piece in pieces:
        size += len(piece)
        if size > most:
            raise BeyondLimitsError(f"the PACS answers with more than {most} bytes, which is the most")
        yield piece


def _text(told: bytes) -> str:
    try:
        return decode_text(told)
    except ValueError as error:
        raise PacsError(f"the PACS answers a search with something else than text: {error}") from error
