"""Delivering by DICOMweb: STOW-RS to send, WADO-RS to read back.

An answer of success says little. Orthanc names failures in a sequence that it sends empty where there are none; it says
200 where it has another object of the same UID, which it keeps. So what counts is what is read back.
"""

from __future__ import annotations

import email.utils
import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

import httpx

from unetr.dicomweb.address import PacsError
from unetr.dicomweb.client import DicomWeb
from unetr.dicomweb.parts import boundary_of, parts
from unetr.errors import InputError
from unetr.io.dicom.exchange import ObjectIdentity
from unetr.node.delivery.destination import StowService
from unetr.node.delivery.sender import QUICK_S, DeliveryError, Held, UnclearError, compared, refusal
from unetr.node.delivery.upload import upload_of
from unetr.node.trust import authorization, trusting

# No object has this UID, and a body of no parts stores none.
_NOBODY = "2.25.1"
_NO_PARTS = b"--unetr--\r\n"
_FAILED, _REASON = "00081198", "00081197"
_WADO = 'multipart/related; type="application/dicom"; transfer-syntax=*'
_BUSY = (429, 502, 503, 504)
_LONGEST_ANSWER = 1 << 20
_MOST_BACK = 1 << 31
_IN_MEMORY = 1 << 24


class StowSender:
    """Sends to one DICOMweb service. Raises InputError where its address or its secrets cannot be used."""

    def __init__(self, service: StowService, timeout_s: float) -> None:
        headers = authorization(service.user, service.password_file, service.token_file)
        self._web = DicomWeb(service.url, headers, timeout_s, trusting(service.certificates))
        self._look_s = min(timeout_s, QUICK_S)

    def send(self, path: Path, identity: ObjectIdentity) -> None:
        """See Sender."""
        upload = upload_of(path)
        with self._asked("studies", {**upload.headers, "Accept": "application/dicom+json"}, body=upload) as answer:
            told = _limited(answer, _LONGEST_ANSWER)
        if answer.status_code not in (200, 201, 202, 409):
            raise _unexpected(answer)
        _check_stored(answer.status_code, told)

    def held(self, identity: ObjectIdentity, content: str) -> Held:
        """See Sender."""
        where = f"studies/{identity.study}/series/{identity.series}/instances/{identity.instance}"
        with tempfile.SpooledTemporaryFile(_IN_MEMORY) as file, self._asked(where, {"Accept": _WADO}) as answer:
            if answer.status_code in (404, 410):
                return Held.ABSENT
            if answer.status_code in _BUSY:
                raise _unexpected(answer)
            if answer.status_code != 200:
                found = _unexpected(answer)
                raise UnclearError(str(found), away=found.away)
            try:
                for body in parts(answer.iter_bytes(), boundary_of(answer.headers.get("Content-Type", ""))):
                    for piece in body:
                        file.write(piece)
                        if file.tell() > _MOST_BACK:
                            return Held.OTHER
            except InputError as error:  # cut on the way, or no multipart: not what it has
                raise DeliveryError(f"what was sent cannot be read back: {error}") from error
            file.seek(0)
            return compared(cast(BinaryIO, file), content)

    def look(self) -> None:
        """See Sender. Both that reading back and sending are answered, for either may be ill by itself."""
        nothing = f"studies/{_NOBODY}/series/{_NOBODY}/instances/{_NOBODY}"
        with self._asked(nothing, {"Accept": _WADO}, timeout_s=self._look_s) as answer:
            if _is_ill(answer.status_code):
                raise _unexpected(answer)
        kind = 'multipart/related; type="application/dicom"; boundary=unetr'
        told = {"Content-Type": kind, "Content-Length": str(len(_NO_PARTS)), "Accept": "application/dicom+json"}
        with self._asked("studies", told, body=[_NO_PARTS], timeout_s=self._look_s) as answer:
            if _is_ill(answer.status_code) or answer.status_code == httpx.codes.NOT_FOUND:
                raise _unexpected(answer)

    @contextmanager
    def _asked(self, path: str, headers: dict[str, str], **told: Any) -> Iterator[httpx.Response]:
        try:
            with self._web.asked(path, headers, **told) as answer:
                yield answer
        except PacsError as error:
            raise DeliveryError(str(error), away=True) from error


def _check_stored(status: int, told: bytes) -> None:
    """Raises DeliveryError where the answer names a failure. One object was sent, so it is ours."""
    try:
        dataset = json.loads(told or b"{}")
        failed = dataset.get(_FAILED, {}).get("Value", [])
        reasons = [int(one.get(_REASON, {}).get("Value", [0])[0]) for one in failed]
    except (ValueError, AttributeError, TypeError, IndexError):
        raise DeliveryError(f"the destination's answer {status} is not what STOW-RS has") from None
    if reasons:
        raise refusal(reasons[0])
    if status == 409:
        raise DeliveryError("the destination refuses the object (409) and does not say why")


def _unexpected(answer: httpx.Response) -> DeliveryError:
    status = answer.status_code
    if status in _BUSY:
        wait = _retry_after(answer.headers.get("Retry-After", ""))
        return DeliveryError(f"the destination has no time now ({status})", away=True, retry_after_s=wait)
    what = {401: "wants to know who asks", 403: "does not allow it", 404: "has no such service"}.get(status, "refuses")
    away = _is_ill(status) or status == httpx.codes.NOT_FOUND
    return DeliveryError(f"the destination {what} ({status}); see its settings and its log", away=away)


def _is_ill(status: int) -> bool:
    """Whether it says that it cannot answer now, whatever it is asked."""
    return status >= 500 or status in _BUSY


def _retry_after(told: str) -> float | None:
    """Seconds, from a number of them or a date; None where it is neither."""
    try:
        return float(int(told)) if told.strip().isdecimal() else max(0.0, _moment(told) - time.time())
    except (ValueError, OverflowError):
        return None


def _moment(told: str) -> float:
    """Seconds since 1970, of HTTP's dates. Raises ValueError, OverflowError for what is none."""
    return email.utils.parsedate_to_datetime(told).timestamp()


def _limited(answer: httpx.Response, most: int) -> bytes:
    told = b""
    for piece in answer.iter_bytes():
        told += piece
        if len(told) > most:
            raise DeliveryError("the destination's answer does not end")
    return told
