"""Messages as they may be kept and shown: without places on this machine, and without what a scan's files call
themselves, which may be a patient's name."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

from unetr.errors import UnetrError
from unetr.printable import printable

# What a series is called, in quotes behind its modality, whatever a file has there; no quote is within them
# (`unetr.io.dicom.series.instances.Series.title`).
_DESCRIPTION = re.compile(r'\(([^"()]*) "[^"]*"\)')
# A name of which the archive itself does not tell, which may hold any sign: up to the last place where the message can
# go on behind it.
_ENTRY = re.compile(r"(\.zip)/(?:.*(?=: )|.*)")


class Plain:
    """Makes messages on a scan plain. files: of the scan, or its one folder. others: further files, named without their
    folders. All are absolute."""

    def __init__(self, files: Sequence[Path], others: Sequence[Path] = ()) -> None:
        self._archives = [path for path in files if path.suffix == ".zip"]
        self._scans = [path if path.is_dir() else path.parent for path in files]
        self._folders = [path.parent for path in others]

    def text(self, text: str) -> str:
        """The text without places and names; a folder of a scan is "the scan"."""
        for folder in (*self._scans, *self._folders):
            if len(folder.parts) > 1:
                name = printable(str(folder))
                text = text.replace(f"{name}/", "").replace(f"{name}\\", "")
        for folder in self._scans:
            text = text.replace(printable(str(folder)), "the scan")
        if ".zip/" in text:
            for name in self._entries:
                text = text.replace(f".zip/{name}", ".zip")
        return _ENTRY.sub(r"\1", _DESCRIPTION.sub(r"(\1)", text))

    def texts(self, texts: Sequence[str]) -> list[str]:
        """All of them."""
        return [self.text(each) for each in texts]

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Errors from within are plain."""
        try:
            yield
        except UnetrError as error:
            error.args = (self.text(str(error)),)
            raise

    @cached_property
    def _entries(self) -> list[str]:
        """Names in the archives as messages show them, the longest first."""
        found: set[str] = set()
        for path in self._archives:
            try:
                with zipfile.ZipFile(path) as archive:
                    found |= {printable(name) for name in archive.namelist()}
            except (OSError, zipfile.BadZipFile, ValueError):
                continue
        return sorted(filter(None, found), key=len, reverse=True)
