"""Scans come in: files that are complete in `incoming/` become a scan, under names of this program's own."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from unetr.core.files.atomic import machine_error
from unetr.core.machine.system import flush_to_disk
from unetr.errors import InputError, MachineError
from unetr.queue.files.sniff import ARCHIVE, DICOM, EXPECTED, suffix_of
from unetr.queue.folder import QueueFolder
from unetr.queue.record import ScanRecord, scan_id
from unetr.queue.store import JobStore


@dataclass(frozen=True, slots=True)
class Received:
    """A file in `incoming/` that is complete and flushed to disk."""

    path: Path
    sha256: str
    bytes: int


class Scans:
    """Keeps and removes scans. guard: held wherever a scan is kept, given a job, or removed."""

    def __init__(self, folder: QueueFolder, store: JobStore) -> None:
        self._folder = folder
        self._store = store
        self.guard = threading.RLock()

    def keep(self, files: Sequence[Received]) -> ScanRecord:
        """The scan of these files, which are moved away. Raises InputError for what is no scan, MachineError."""
        named = _one_scan([(file, suffix_of(file.path)) for file in files])
        ordered = named[0][1] != DICOM
        scan = ScanRecord(
            id=scan_id([file.sha256 for file, _ in named], ordered=ordered),
            files=tuple(_name(index, len(named), suffix) for index, (_, suffix) in enumerate(named)),
            bytes=sum(file.bytes for file, _ in named),
            created_s=time.time(),
        )
        with self.guard:
            is_new = not self._is_whole(scan)
            if is_new:
                self._move(scan, [file for file, _ in named])
            try:
                kept = self._store.add_scan(scan)
            except MachineError:
                if is_new:  # a full disk has no room for what nobody knows of
                    shutil.rmtree(self._folder.scan(scan.id), ignore_errors=True)
                raise
        for file in files:
            file.path.unlink(missing_ok=True)
        for folder in {file.path.parent for file in files} - {self._folder.incoming}:
            with suppress(OSError):  # something else lies there still
                folder.rmdir()
        return kept

    def source(self, scan: ScanRecord) -> tuple[Path, ...]:
        """Its files, or the one folder of DICOM, as `Segmenter.predict` takes them."""
        folder = self._folder.source(scan.id)
        if scan.files[0].endswith(DICOM):
            return (folder,)
        return tuple(folder / name for name in scan.files)

    def _is_whole(self, scan: ScanRecord) -> bool:
        """Whether the scan is known and its files are there: removing it may have begun, and not come to its end."""
        if scan.id not in self._store.scan_ids():
            return False
        files = [self._folder.source(scan.id) / name for name in scan.files]
        return all(path.is_file() for path in files) and sum(path.stat().st_size for path in files) == scan.bytes

    def _move(self, scan: ScanRecord, files: Sequence[Received]) -> None:
        """All files flushed and under their names before the database knows of the scan."""
        source = self._folder.source(scan.id)
        try:
            shutil.rmtree(self._folder.scan(scan.id), ignore_errors=True)  # of a start that did not come to its end
            source.mkdir(0o700, parents=True)
            for name, file in zip(scan.files, files, strict=True):
                file.path.replace(source / name)
            for folder in (source, source.parent, source.parent.parent):
                flush_to_disk(folder)
        except OSError as error:
            shutil.rmtree(self._folder.scan(scan.id), ignore_errors=True)
            raise machine_error(Path("the scan"), error) from error


def _one_scan(found: Sequence[tuple[Received, str]]) -> list[tuple[Received, str]]:
    """The files that are the scan: DICOM, whatever lies beside it, one archive, or volumes, each a channel.

    Raises InputError for anything else.
    """
    dicom = {file.sha256: (file, suffix) for file, suffix in found if suffix == DICOM}
    if dicom:  # what came twice counts once
        if any(suffix not in (DICOM, "") for _, suffix in found):
            raise InputError("the files: are DICOM and volumes; expected one kind, one scan at a time")
        return list(dicom.values())
    if not found:
        raise InputError(f"no file came; {EXPECTED}")
    for file, suffix in found:
        if not suffix:
            raise InputError(f"the file: is {'no scan' if file.bytes else 'empty'}; {EXPECTED}")
    if len(found) > 1 and any(suffix == ARCHIVE for _, suffix in found):
        raise InputError("the files: are several with an archive among them; expected one archive alone")
    return list(found)


def _name(index: int, count: int, suffix: str) -> str:
    if suffix == DICOM:
        return f"{index + 1:05}{suffix}"
    return f"scan{suffix}" if count == 1 else f"scan-{index + 1}{suffix}"
