"""Series that arrive, file by file, from whichever side. What `take` has returned from outlasts a kill and a power cut.

```
arriving/parts/…                          what is being received; whatever is found here at the start is removed
arriving/<digest of UIDs>/<digest>.dcm    the instances of one series, named by the digests of their UIDs
```

A series is open while it has files that nothing was decided of. So no kill between a file and its row loses anything:
at the start, the files are counted again.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from unetr.core.files.atomic import machine_error
from unetr.core.machine.system import flush_to_disk
from unetr.errors import InputError, NoRoomError
from unetr.io.dicom.series.head import Head, read_head
from unetr.node.receive.place import NotAsSaidError, Taken, TooMuchError, digest, placed
from unetr.node.receive.table import ArrivingTable, SeriesRow, SeriesState
from unetr.node.settings import Limits

_OLDEST_PART_S = 3600.0


@dataclass(slots=True)
class _Live:
    """A series in memory. last: on the clock that only goes forward. visits: who brings it now. cut_off: the visit that
    was cut off, so that more is to come; bystanders: those that went on then, whose end says nothing about that."""

    row: SeriesRow
    files: int
    bytes: int
    last: float
    visits: set[object] = field(default_factory=set)
    cut_off: object | None = None
    bystanders: set[object] = field(default_factory=set)

    @property
    def is_open(self) -> bool:
        return self.files != self.row.files


class Arrivals:
    """The series that arrive in one folder. Safe to use from several threads; one process at a time.

    clock: seconds since 1970, for tests.
    """

    def __init__(
        self, folder: Path, table: ArrivingTable, limits: Limits, clock: Callable[[], float] = time.time
    ) -> None:
        self.parts = folder / "parts"
        self.counts: Counter[str] = Counter()
        self._folder, self._table, self._limits, self._clock = folder, table, limits, clock
        self._lock = threading.Lock()
        try:
            shutil.rmtree(self.parts, ignore_errors=True)
            self.parts.mkdir(0o700, parents=True, exist_ok=True)
            self._series = self._found()
        except OSError as error:
            raise machine_error(folder, error) from error

    def take(self, part: Path, source: str, said: tuple[str, str] | None = None, visit: object | None = None) -> Taken:
        """Keeps a file, complete on the same disk, which is moved or removed; when this returns, it is safe.

        source: who brings it, such as an AE title. said: the SOP class and instance that its sender announced. visit:
        what `left` is told of at its end, such as an association.
        Raises InputError for what is no DICOM object, NotAsSaidError, NoRoomError, and MachineError; the part is then
        gone, and nothing was kept.
        """
        try:
            head = read_head(part)
            if said is not None and said != (head.sop_class, head.instance):
                raise NotAsSaidError("the object's SOP class or instance is not the one that was announced")
            taken = self._keep(part, head, source, visit) if head.is_image else Taken.IGNORED
        except OSError as error:
            raise machine_error(self._folder, error) from error
        finally:
            with suppress(OSError):
                part.unlink(missing_ok=True)
        self.counts[taken] += 1
        return taken

    def check_room(self, more: int = 0) -> None:
        """Raises NoRoomError where the disk would be left with less than the settings say."""
        if shutil.disk_usage(self._folder).free - more < self._limits.keep_free_mb * 1e6:
            raise NoRoomError("the disk has no room for more; free space")

    def left(self, visit: object, whole: bool) -> None:
        """A visit has ended. whole: as its visitor meant it to, with nothing refused, so that nothing more is to come.

        Raises MachineError where that cannot be noted.
        """
        with self._lock:
            for live in list(self._series.values()):
                known = visit in live.visits
                live.visits.discard(visit)
                if known and not whole:
                    live.cut_off, live.bystanders = visit, set(live.visits)
                elif (live.cut_off is visit and whole) or (known and visit not in live.bystanders):
                    live.cut_off = None  # an end may be told twice, and the better one be told last
                    self._end_well(live)

    def quiet(self, quiet_s: float, cut_off_s: float) -> list[SeriesRow]:
        """The open series to which nothing has come for so long, the oldest first.

        cut_off_s: of those whose last visit was cut off, and which were open when the process before this one ended.
        """
        now = time.monotonic()
        with self._lock:
            live = [one for one in self._series.values() if one.is_open]
            found = [one.row for one in live if now - one.last >= (cut_off_s if one.cut_off is not None else quiet_s)]
        return sorted(found, key=lambda row: row.first_s)

    def is_cut_off(self, series: str) -> bool:
        """Whether who brought the series was cut off, or something of it was refused, and nobody has come back."""
        with self._lock:
            return self._series[series].cut_off is not None

    def rows(self, *states: SeriesState) -> list[SeriesRow]:
        """The series in these states to which nothing has come since; all series where none is given."""
        with self._lock:
            found = [one.row for one in self._series.values() if not states or not one.is_open]
        return [row for row in found if not states or row.state in states]

    def count_open(self) -> int:
        """How many series have files that nothing was decided of."""
        with self._lock:
            return sum(one.is_open for one in self._series.values())

    def files(self, series: str) -> list[Path]:
        """The instances of a series, by name."""
        return sorted(self._place(series).glob("*.dcm"))

    def decide(
        self,
        series: str,
        files: int,
        state: SeriesState,
        said: str | None = None,
        jobs: Mapping[str, str] | None = None,
    ) -> SeriesRow:
        """Notes what was made of the series' first `files` files; with more, it stays open. jobs: by rule, in place of
        those that were noted before; those stay where there are none."""
        with self._lock:
            live = self._series[series]
            kept = dict(jobs or live.row.jobs)
            row = replace(live.row, state=state, files=files, said=said, jobs=kept, last_s=self._clock())
            self._table.put(row)
            live.row = row
        return row

    def remove_old(self, retention_s: float) -> int:
        """Removes the series of which was decided so long ago, and parts of connections that ended; how many series."""
        end = self._clock() - retention_s
        for part in self.parts.iterdir():
            with suppress(OSError):
                if part.stat().st_mtime < time.time() - _OLDEST_PART_S:
                    part.unlink()
        with self._lock:
            old = [key for key, one in self._series.items() if one.row.last_s < end and not one.is_open]
            for key in old:
                del self._series[key]
                shutil.rmtree(self._place(key), ignore_errors=True)
                self._table.forget(key)
        return len(old)

    def _keep(self, part: Path, head: Head, source: str, visit: object | None) -> Taken:
        series, study = digest(head.study, head.series), digest(head.study)
        flush_to_disk(part)
        size = part.stat().st_size
        with self._lock:
            live = self._series.get(series)
            self._refuse_too_much(live, size)
            folder = self._place(series)
            if live is None:
                folder.mkdir(0o700, exist_ok=True)
                flush_to_disk(self._folder)  # before anyone's file of this series is acknowledged
            taken = placed(part, head, folder)
            now = self._clock()
            if live is None:
                row = SeriesRow(series=series, study=study, source=source, first_s=now, last_s=now)
                live = self._series[series] = _Live(row, 0, 0, 0.0)
                self._table.put(row)
            if visit is not None:
                live.visits.add(visit)
            if taken is not Taken.SAME:
                self._change(live, whole=False)
                live.files, live.bytes, live.last = live.files + 1, live.bytes + size, time.monotonic()
        flush_to_disk(folder)
        return taken

    def _end_well(self, live: _Live) -> None:
        """What waits for its sender's return alone is looked at again, though no file is new."""
        files = -1 if live.row.state is SeriesState.WAITING else live.row.files
        self._change(live, whole=True, files=files)

    def _change(self, live: _Live, **columns: Any) -> None:
        row = replace(live.row, **columns)
        if row != live.row:
            self._table.put(row)
            live.row = row

    def _refuse_too_much(self, live: _Live | None, size: int) -> None:
        self.check_room()
        if (live.bytes if live else 0) + size > self._limits.series_gb * 1e9:
            raise TooMuchError("the series is larger than the settings allow")
        if live is None and sum(one.is_open for one in self._series.values()) >= self._limits.open_series:
            raise NoRoomError("as many series arrive at once as the settings allow")

    def _found(self) -> dict[str, _Live]:
        """The series of the folder and their rows. A folder without a row is a series that nothing was decided of."""
        rows = {row.series: row for row in self._table.all()}
        found: dict[str, _Live] = {}
        for folder in sorted(self._folder.iterdir()):
            files = list(folder.glob("*.dcm")) if folder != self.parts and folder.is_dir() else []
            if not files:
                continue
            row = rows.pop(folder.name, None) or self._row_of(folder.name, files)
            if row is not None:
                sizes = sum(file.stat().st_size for file in files)
                found[folder.name] = _Live(row, len(files), sizes, time.monotonic())
                found[folder.name].cut_off = None if row.whole else self
        for series in rows:
            self._table.forget(series)
        return found

    def _row_of(self, series: str, files: list[Path]) -> SeriesRow | None:
        try:
            study = digest(read_head(files[0]).study)
        except InputError:  # nothing of ours
            return None
        now = self._clock()
        row = SeriesRow(series=series, study=study, source="", first_s=now, last_s=now)
        self._table.put(row)
        return row

    def _place(self, series: str) -> Path:
        return self._folder / series
