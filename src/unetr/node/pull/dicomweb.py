"""A PACS by DICOMweb: studies of the last days are searched for, and series that do not grow any more are fetched."""

from __future__ import annotations

import datetime
import hashlib
import secrets
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from unetr.dicomweb.address import BeyondLimitsError, NotInPacsError, PacsError, is_uid
from unetr.dicomweb.client import MODALITY, SERIES_UID, STUDY_UID, DicomWeb, FetchLimits, value_of
from unetr.errors import InputError, MachineError
from unetr.node.pull.seen import Seen
from unetr.node.receive.arriving import Arrivals
from unetr.node.receive.place import TooMuchError
from unetr.node.settings import HttpService, Limits, Pull
from unetr.node.trust import authorization, trusting

_AT_ONCE = 100
_MOST_FAILURES = 3
_INSTANCES = "00201209"  # NumberOfSeriesRelatedInstances
_DIGITS = 32


@dataclass(frozen=True, slots=True)
class _Series:
    study: str
    uid: str
    count: str

    @property
    def expected(self) -> int:
        """How many instances the PACS says that it has, 0 where it says nothing."""
        return int(self.count) if self.count.isdecimal() else 0

    @property
    def item(self) -> str:
        """As it is noted: a digest."""
        return hashlib.sha256(f"{self.study}\n{self.uid}".encode()).hexdigest()[:_DIGITS]


class DicomWebSource:
    """One PACS. `ask` is for one thread. Raises InputError for an address or secrets that cannot be used."""

    def __init__(self, pull: Pull, service: HttpService, limits: Limits, arrivals: Arrivals, seen: Seen) -> None:
        self._pull, self._arrivals, self._seen = pull, arrivals, seen
        self._limits = FetchLimits(most_bytes=int(limits.series_gb * 1e9))
        self._client = DicomWeb(
            service.url,
            authorization(service.user, service.password_file, service.token_file),
            pull.timeout_s,
            trusting(service.certificates),
        )
        self.place = self._client.place
        self._before: dict[str, str] = {}
        self._failed: Counter[str] = Counter()

    def close(self) -> None:
        """Ends its connections."""
        self._client.close()

    def ask(self) -> int:
        """Fetches new series that have as many instances as when they were last seen; how many.

        Raises PacsError, MachineError; what was fetched stays.
        """
        fetched, failures = 0, list[MachineError]()
        found = {series.item: series for series in self._series(failures)}
        due = [one for one in found.values() if self._is_due(one)]
        self._before = {item: series.count for item, series in found.items()}
        before = len(failures)
        # Those that failed before come last, so that they keep no other back.
        for series in sorted(due, key=lambda one: self._failed[one.item]):
            if len(failures) - before >= _MOST_FAILURES:  # it is away as a whole
                break
            try:
                fetched += self._fetch(series)
                del self._failed[series.item]
            except MachineError as error:
                self._failed[series.item] += 1
                failures.append(error)
        if failures:
            raise failures[0]
        return fetched

    def _is_due(self, series: _Series) -> bool:
        """Whether it has not grown since the question before, and was not fetched as it stands."""
        return self._before.get(series.item) == series.count and self._seen.mark(series.item) != series.count

    def sweep(self) -> int:
        """Nothing more: each question is for all series of these days."""
        return 0

    def _series(self, failures: list[MachineError]) -> Iterator[_Series]:
        """Of all studies but those that cannot be looked into, which are tried last the next time."""
        for study in sorted(self._studies(), key=lambda one: self._failed[one]):
            if len(failures) >= _MOST_FAILURES:
                return
            fields = {"includefield": _INSTANCES}
            try:
                entries = self._client.search(f"studies/{study}/series", fields)
                del self._failed[study]
            except NotInPacsError:
                continue
            except (MachineError, InputError) as error:  # InputError: an answer that is none
                self._failed[study] += 1
                failures.append(error if isinstance(error, MachineError) else PacsError(str(error)))
                continue
            for entry in entries:
                uid = value_of(entry, SERIES_UID)
                if value_of(entry, MODALITY) in self._pull.modalities and uid:
                    yield _Series(study, uid, value_of(entry, _INSTANCES) or "?")

    def _studies(self) -> list[str]:
        """UIDs, each once. A PACS that does not know pages answers each question with the same ones."""
        today = datetime.datetime.now(tz=datetime.UTC).date()
        day = datetime.timedelta(days=1)  # the PACS's day may be another than ours
        dates = f"{today - day * (self._pull.days + 1):%Y%m%d}-{today + day:%Y%m%d}"
        offset, found = 0, dict[str, None]()
        while True:
            query = {"StudyDate": dates, "limit": str(_AT_ONCE), "offset": str(offset)}
            page, before = self._client.search("studies", query), len(found)
            found |= dict.fromkeys(filter(is_uid, (value_of(entry, STUDY_UID) for entry in page)))
            offset += len(page)
            if len(page) < _AT_ONCE or len(found) == before:
                return list(found)

    def _fetch(self, series: _Series) -> bool:
        folder, visit, whole = self._arrivals.parts / secrets.token_hex(8), object(), False
        try:
            folder.mkdir(0o700)
            files = self._client.fetch(series.study, series.uid, folder, self._limits)
            damaged = 0
            for file in files:
                try:
                    self._arrivals.take(file.path, self._pull.name, visit=visit)
                except InputError:  # one damaged object must not keep the others back, but the series is not whole
                    damaged += 1
                    self._arrivals.counts["damaged"] += 1
            missing = max(0, series.expected - len(files))
            if missing and self._failed[series.item] < _MOST_FAILURES:
                raise PacsError(f"the PACS at {self.place} gives {len(files)} of {series.expected} instances")
            whole = not damaged and not missing
        except NotInPacsError:
            return False
        except (BeyondLimitsError, TooMuchError):  # again would be no better; what came of it is never whole
            self._arrivals.counts["too much"] += 1
        except InputError as error:  # cut off on the way, or an answer of something before the PACS
            raise PacsError(str(error)) from error
        except OSError as error:
            raise MachineError(f"what the PACS sends cannot be kept: {error.strerror or error}") from error
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            self._arrivals.left(visit, whole)
        self._seen.note(series.item, series.count)
        return True
