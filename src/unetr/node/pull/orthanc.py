"""An Orthanc by its own REST interface: its events from where they were read last, and now and then all of its series.

What it has had for longer than `days` before it was first asked is its history, and not fetched.

Orthanc tells that a series is stable, but not after a kill, and again for results that we have sent. So an event is
only a reason to look at a series, what counts is how the series stands, and a sweep looks at all of them.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from unetr.core.text.reading import parse_json
from unetr.dicomweb.address import PacsError
from unetr.errors import InputError, MachineError
from unetr.node.pull.seen import Seen
from unetr.node.receive.arriving import Arrivals
from unetr.node.receive.place import TooMuchError
from unetr.node.settings import HttpService, Limits, Pull
from unetr.node.trust import authorization, trusting

_AT_ONCE = 500
_MOST_FAILURES = 3
_MOST_JSON = 64_000_000
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{8}){4}")


class OrthancSource:
    """One Orthanc. `ask` and `sweep` are for one thread. Raises InputError for secrets that cannot be read."""

    def __init__(self, pull: Pull, service: HttpService, limits: Limits, arrivals: Arrivals, seen: Seen) -> None:
        self._pull, self._arrivals, self._seen = pull, arrivals, seen
        self._most_bytes = int(limits.instance_mb * 1e6)
        self._base, self.place = service.url.rstrip("/"), urlsplit(service.url).netloc
        # Series to look at again, as they still grew or could not be fetched, and how often that has failed.
        self._again: dict[str, int] = {}
        self._failure: MachineError | None = None
        # Proxies of the environment are not used and redirects not followed: nobody else learns what is asked.
        self._client = httpx.Client(
            headers=authorization(service.user, service.password_file, service.token_file),
            timeout=pull.timeout_s,
            trust_env=False,
            verify=trusting(service.certificates),
        )

    def close(self) -> None:
        """Ends its connections."""
        self._client.close()

    def ask(self) -> int:
        """Fetches the series of new events; how many. Raises PacsError, MachineError; what was fetched stays."""
        self._failure = None
        fetched, cursor = self._fetch_all(set(self._again)), self._seen.cursor
        if int(self._json("/changes?last").get("Last", 0)) < cursor:  # another database than before
            cursor = 0
        while True:
            told = self._json(f"/changes?since={cursor}&limit={_AT_ONCE}")
            events = told.get("Changes", [])
            series = {str(one.get("ID")) for one in events if one.get("ResourceType") == "Series"}
            fetched += self._fetch_all(series)
            before, cursor = cursor, int(told.get("Last", cursor))
            self._seen.cursor = cursor
            if told.get("Done", True) or not events or cursor <= before:
                break
        self._raise_failure()
        return fetched

    def sweep(self) -> int:
        """Looks at every series; how many were fetched. Raises PacsError, MachineError."""
        fetched = self._fetch_all(set(self._all()))
        self._raise_failure()
        return fetched

    def _fetch_all(self, series: set[str]) -> int:
        """One series that cannot be fetched keeps no other back; it is tried again with the next question.

        Those that failed before come last, so that they keep no other back, either.
        """
        fetched, failures = 0, 0
        for one in sorted(series, key=lambda each: (self._again.get(each, 0), each)):
            if failures >= _MOST_FAILURES:  # it is away as a whole
                self._again.setdefault(one, 0)
                continue
            before = self._again.pop(one, 0)
            try:
                fetched += self._fetch_if_new(one)
            except MachineError as error:
                self._again[one] = before + 1
                self._failure, failures = error, failures + 1
        return fetched

    def _raise_failure(self) -> None:
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def _all(self) -> Iterator[str]:
        since = 0
        while True:
            page = self._json(f"/series?since={since}&limit={_AT_ONCE}")
            if not isinstance(page, list) or not page:
                return
            yield from map(str, page)
            since += len(page)

    def _fetch_if_new(self, series: str) -> bool:
        if not _ID.fullmatch(series):
            return False
        try:
            told = self._json(f"/series/{series}")
        except _GoneError:
            return False
        tags = told.get("MainDicomTags", {})
        if tags.get("Modality") not in self._pull.modalities:
            return False
        if not told.get("IsStable", True):  # an event tells when it is, but a kill of Orthanc swallows that one
            self._again[series] = 0
            return False
        if self._is_history(str(told.get("LastUpdate", ""))):
            return False
        instances = [str(one) for one in told.get("Instances", [])]
        mark = f"{len(instances)} {told.get('LastUpdate', '')}"
        if self._seen.mark(series) == mark:
            return False
        visit, whole = object(), False
        try:
            sound = [self._fetch(instance, visit) for instance in filter(_ID.fullmatch, instances)]
            whole = all(sound)
        except TooMuchError:  # again would be no better; what came of it is never whole
            self._arrivals.counts["too much"] += 1
        finally:
            self._arrivals.left(visit, whole)
        self._seen.note(series, mark)
        return True

    def _is_history(self, updated: str) -> bool:
        """updated: when its last instance came, as Orthanc tells it, in UTC; what is not told is taken for new."""
        start = self._seen.first_asked() - datetime.timedelta(days=self._pull.days)
        return bool(updated) and updated < f"{start:%Y%m%dT%H%M%S}"

    def _fetch(self, instance: str, visit: object) -> bool:
        """Whether it is sound, or gone meanwhile. One damaged object keeps no other back, but is missing."""
        part = self._arrivals.parts / f"{instance}.part"
        try:
            self._write(instance, part)
            self._arrivals.take(part, self._pull.name, visit=visit)
        except _GoneError:
            return True
        except OSError as error:
            raise MachineError(f"what the PACS sends cannot be kept: {error.strerror or error}") from error
        except InputError:
            self._arrivals.counts["damaged"] += 1
            return False
        finally:
            part.unlink(missing_ok=True)
        return True

    def _write(self, instance: str, part: Path) -> None:
        with self._answer(f"/instances/{instance}/file") as answer, part.open("wb") as handle:
            size = 0
            for piece in answer.iter_bytes():
                size += len(piece)
                if size > self._most_bytes:
                    raise TooMuchError(f"the PACS at {self.place} sends a larger object than the settings allow")
                handle.write(piece)

    def _json(self, path: str) -> Any:
        with self._answer(path) as answer:
            pieces, size = [], 0
            for piece in answer.iter_bytes():
                size += len(piece)
                if size > _MOST_JSON:
                    raise PacsError(f"the PACS at {self.place} answers without end")
                pieces.append(piece)
        try:
            return parse_json(b"".join(pieces).decode(), f"the answer of the PACS at {self.place}")
        except (UnicodeDecodeError, InputError) as error:
            raise PacsError(f"the PACS at {self.place} answers with something else than JSON") from error

    def _answer(self, path: str) -> _Answer:
        return _Answer(self._client, self._base + path, self.place)


class _GoneError(PacsError):
    """What was asked for is not there any more."""


class _Answer:
    """A successful answer whose body has not been read, as a context. Raises PacsError."""

    def __init__(self, client: httpx.Client, address: str, place: str) -> None:
        self._stream = client.stream("GET", address)
        self._place = place

    def __enter__(self) -> httpx.Response:
        try:
            answer = self._stream.__enter__()
        except httpx.HTTPError as error:
            raise PacsError(f"the PACS at {self._place} does not answer: {type(error).__name__}") from error
        if not answer.is_success:
            self._stream.__exit__(None, None, None)
            kind = _GoneError if answer.status_code == httpx.codes.NOT_FOUND else PacsError
            raise kind(f"the PACS at {self._place} answers with status {answer.status_code}")
        return answer

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        self._stream.__exit__(kind, error, trace)
        if isinstance(error, httpx.HTTPError):
            raise PacsError(f"the PACS at {self._place} does not answer: {type(error).__name__}") from error
