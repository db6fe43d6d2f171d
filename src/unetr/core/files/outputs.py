"""What a command may write: never an input, never twice, and never over what a person has, unless they ask for it.

Beside its outputs this program keeps a list of what it wrote there, `.unetr_outputs`, in the lines of sha256sum. A file
that is not as a line says is a person's: they made it, or edited it since.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from unetr.core.files.digest import file_sha256
from unetr.core.machine.system import BINARY, NO_FOLLOW
from unetr.errors import InputError

LIST = ".unetr_outputs"
_HEX = 64
# A list of more lines than this is written anew without those that later ones replaced.
_LONG = 1000
_KEPT = 2

# What this process has claimed, from any thread.
_CLAIMED: set[Path] = set()

Written = dict[str, list[str]]
"""File name -> the SHA-256 of what was written under it, the latest last."""


@dataclass(frozen=True, slots=True)
class Advice:
    """What to do about a person's file that would be overwritten, and the hint of the error that says it."""

    text: str = "move it away, choose another output, or allow overwriting"
    hint: str = "overwrite"


OVERWRITE = Advice()


def claim(
    outputs: Iterable[Path],
    inputs: Mapping[str, Iterable[Path]] | None = None,
    *,
    overwrite: bool = False,
    known: Mapping[Path, Collection[str]] | None = None,
    advice: Advice = OVERWRITE,
) -> None:
    """Raises InputError, before anything is computed, where one of the outputs must not be written.

    What is then written to them (`atomic.atomic_path`) is known again as this program's own.

    inputs: what they are ("a scan", "the model") -> files, none of which may be an output, by whatever name. overwrite:
    whether a person's files may be replaced. known: further digests of what this program wrote. advice: what to do
    about a person's file.
    """
    wanted = list(outputs)
    _refuse_inputs(wanted, inputs or {})
    _refuse_twice(wanted)
    if not overwrite:
        _refuse_theirs(wanted, known or {}, advice)
    _CLAIMED.update(path.absolute() for path in wanted)


def is_claimed(path: Path) -> bool:
    """Whether this process has claimed a file as an output."""
    return path.absolute() in _CLAIMED


def folded(name: str) -> str:
    """A name as file systems see it that tell neither case nor Unicode forms apart."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def record(path: Path, content: Path) -> None:
    """Notes that `path` is about to get the bytes of the file `content`, in the list beside it. Raises OSError.

    Before it takes its name, so that no kill leaves a file that is in no list. In a folder that people share, the list
    is the first one's; what others write there counts as a person's.
    """
    line = file_sha256(content).encode() + b"  " + os.fsencode(path.name) + b"\n"
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | NO_FOLLOW | BINARY
    try:
        handle = os.open(path.with_name(LIST), flags, 0o600)
    except PermissionError:
        return
    try:
        size = os.fstat(handle).st_size
        if size:
            os.lseek(handle, size - 1, os.SEEK_SET)
            if os.read(handle, 1) != b"\n":  # a line that a full disk cut short
                line = b"\n" + line
        while line:
            line = line[os.write(handle, line) :]
        os.fsync(handle)
    finally:
        os.close(handle)


def is_ours(path: Path, written: Written) -> bool:
    """Whether a file is as this program wrote it. Raises InputError for what cannot be read."""
    digests = written.get(path.name, ())
    try:
        return bool(digests) and not path.is_symlink() and file_sha256(path) in digests
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}; choose another output") from None


def read_list(folder: Path) -> Written:
    """What this program wrote into a folder; nothing where there is no list. Lines that are none are passed over."""
    try:
        data = (folder / LIST).read_bytes()
    except OSError:
        return {}
    written: Written = {}
    lines = data.split(b"\n")
    for line in lines:
        digest, name = line[:_HEX], line[_HEX + 2 :]
        if len(digest) == _HEX and name and line[_HEX : _HEX + 2] == b"  ":
            written.setdefault(os.fsdecode(name), []).append(digest.decode("ascii", "replace"))
    if len(lines) > max(_LONG, 2 * _KEPT * len(written)):
        _shorten(folder, written)
    return written


def _shorten(folder: Path, written: Written) -> None:
    """Writes a list anew with the last lines of each file; a folder that cannot be written keeps its long one."""
    temporary = folder / f"{LIST}-new"
    lines = [f"{digest}  ".encode() + os.fsencode(name) for name, all_ in written.items() for digest in all_[-_KEPT:]]
    try:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(b"\n".join(lines) + b"\n")
        temporary.replace(folder / LIST)
    except OSError:
        temporary.unlink(missing_ok=True)


def _refuse_inputs(outputs: Sequence[Path], inputs: Mapping[str, Iterable[Path]]) -> None:
    files: dict[object, str] = {}
    for what, paths in inputs.items():
        for path in paths:
            for name in _names(path):
                files.setdefault(name, what)
    for path in outputs:
        for name in _names(path):
            if name in files:
                raise InputError(f"{path}: is {files[name]} and would be overwritten; choose another output")


def _names(path: Path) -> list[object]:
    """What tells a file from others: where it is, in every spelling, and, where there is one, which it is."""
    names: list[object] = [_place(path), _place(path.resolve())]
    try:
        status = path.stat()
    except OSError:
        return names
    return [*names, (status.st_dev, status.st_ino)]


def _place(path: Path) -> object:
    """The folder, by itself where it exists, and the folded name."""
    try:
        status = path.parent.stat()
    except OSError:
        return folded(str(path.absolute())), ""
    return (status.st_dev, status.st_ino), folded(path.name)


def _refuse_twice(outputs: Sequence[Path]) -> None:
    seen: dict[object, Path] = {}
    for path in outputs:
        other = seen.setdefault(_place(path), path)
        if other is path:
            continue
        if other.name == path.name:
            raise InputError(f"{path}: would be written for two cases or options; rename one of the scans or outputs")
        raise InputError(
            f"{path}: differs from {other.name} only in case or Unicode form, so that they are one file on many "
            "machines; rename one of them"
        )


def _refuse_theirs(outputs: Sequence[Path], known: Mapping[Path, Collection[str]], advice: Advice) -> None:
    lists: dict[Path, Written] = {}
    theirs = []
    for path in outputs:
        if path.is_dir() or not os.path.lexists(path):
            continue
        if path.parent not in lists:
            lists[path.parent] = read_list(path.parent)
        written = lists[path.parent]
        also = {path.name: [*written.get(path.name, ()), *known.get(path, ())]}
        if not is_ours(path, also):
            theirs.append((path, "was changed since unetr wrote it" if also[path.name] else "was not written by unetr"))
    if theirs:
        (path, why), more = theirs[0], f" (and {len(theirs) - 1} more)" if len(theirs) > 1 else ""
        raise InputError(f"{path}: {why}{more}, and would be overwritten; {advice.text}", hint=advice.hint)
