"""Which paths a language model may name: those in the folders that a person named at the start, and no others.

What it says is refused before any file system is asked, where its words alone lead elsewhere: an answer such as "no
such file" would tell what lies there, and on Windows a mere look at a network path sends a name and a password.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath

from unetr.core.files.atomic import machine_error
from unetr.errors import InputError

_LONGEST = 4096
_LONGEST_NAME = 100
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._ -]*")
# Devices of Windows, with any ending.
_DEVICE = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³]) *(\..*)?", re.IGNORECASE)
_OUTSIDE = "is outside the folders that this server may read"


@dataclass(frozen=True, slots=True)
class Folders:
    """read: folders as a person named them, absolute. out: where results go; None: nothing is written."""

    read: tuple[Path, ...]
    out: Path | None = None

    def find(self, told: str) -> Path:
        """The file or folder that is meant, resolved: absolute, or below one of the folders.

        Raises InputError for one that is not in them, by its words or by where links lead, and where there is none.
        """
        _check_words(told)
        candidates = self._candidates(Path(told))
        if not candidates:
            raise InputError(f"{told}: {_OUTSIDE}; expected a path in one of them")
        found = next((path for path in candidates if os.path.lexists(path)), None)
        if found is None:
            raise InputError(f"{told}: no such file or folder in the folders that this server may read")
        return self._resolved(found, told)

    def check_below(self, folder: Path) -> None:
        """Raises InputError where anything in a folder leads out of the folders, or is neither file nor folder."""
        for parent, folders, files in os.walk(folder):
            for name in (*folders, *files):
                path = Path(parent, name)
                kind = path.lstat().st_mode
                if stat.S_ISLNK(kind):
                    self._resolved(path, str(path))
                elif not (stat.S_ISDIR(kind) or stat.S_ISREG(kind)):
                    raise InputError(f"{path}: is neither a file nor a folder; expected scans alone")

    def result(self, name: str) -> Path:
        """Where a result of this name goes. Raises InputError for what is no plain name, and where nothing is written.

        name: without ending; the folder for results is the only one that is written to.
        """
        if self.out is None:
            raise InputError("no folder for results was named when this server was started; nothing can be written")
        if len(name) > _LONGEST_NAME or not _NAME.fullmatch(name) or name[-1] in ". " or _DEVICE.fullmatch(name):
            raise InputError(
                f"{name[:_LONGEST_NAME]!r}: is no name for a result; expected letters, digits, dots, dashes and "
                f"underscores, at most {_LONGEST_NAME}, without folders and ending"
            )
        return self.out / name

    def _all(self) -> tuple[Path, ...]:
        return self.read if self.out is None or self.out in self.read else (*self.read, self.out)

    def _candidates(self, given: Path) -> list[Path]:
        """The paths that may be meant, each in one of the folders by its words."""
        if given.is_absolute():
            known = {known for folder in self._all() for known in (folder, folder.resolve())}
            return [given] if any(given.is_relative_to(folder) for folder in known) else []
        return [] if given.drive or given.root else [folder / given for folder in self._all()]

    def _resolved(self, path: Path, told: str) -> Path:
        try:
            real = path.resolve(strict=True)
        except (OSError, RuntimeError):
            raise InputError(f"{told}: leads nowhere; expected a file or folder") from None
        if not any(real.is_relative_to(folder.resolve()) for folder in self._all()):
            raise InputError(f"{told}: {_OUTSIDE}, by a link; expected a path in one of them")
        return real


def open_folders(read: Sequence[Path], out: Path | None = None) -> Folders:
    """The folders, checked; that for results is made where it is missing. Raises InputError for what is no folder,
    MachineError."""
    if not read:
        raise InputError("no folder is named; expected at least one that may be read")
    if out is not None and not out.exists():
        try:
            out.mkdir(0o700, parents=True)
        except OSError as error:
            raise machine_error(out, error) from error
    for folder in (*read, *(() if out is None else (out,))):
        if not folder.is_dir():
            raise InputError(f"{folder}: is no folder; expected one that is there")
    return Folders(tuple(folder.absolute() for folder in read), None if out is None else out.absolute())


def plain_name(path: Path) -> str:
    """A name for a result, made of a file's own: other characters become dashes."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", path.name)[:_LONGEST_NAME].strip("-._ ")
    return f"scan-{name}".rstrip("-") if not name or _DEVICE.fullmatch(name) else name


def _check_words(told: str) -> None:
    """Raises InputError for a path that could mean another place than its words say, on any system."""
    if not told.strip() or len(told) > _LONGEST or any(ord(letter) < 32 for letter in told):
        raise InputError(f"{told[:60]!r}: is no path; expected a file or folder in the folders that may be read")
    parts = re.split(r"[/\\]", told)
    if ".." in parts:
        raise InputError(f"{told}: goes up with '..'; expected a path without it")
    if told.startswith(("//", "\\\\", "~")):
        raise InputError(f"{told}: {_OUTSIDE}; expected a path in one of them")
    windows = PureWindowsPath(told)
    inner = parts[1:] if windows.drive and windows.root else parts
    if any(_DEVICE.fullmatch(part) for part in inner) or (os.name == "nt" and any(map(_is_odd, inner))):
        raise InputError(f"{told}: names a device, or a file by another name; expected a plain path")


def _is_odd(part: str) -> bool:
    """Whether Windows takes the name for another: C:name, file:stream, name and name with a dot or space behind it."""
    return ":" in part or (part not in ("", ".") and part[-1] in ". ")
