"""SHA-256 of what lies at a path: of a file its bytes, of a folder its files with their names."""

from __future__ import annotations

import hashlib
from pathlib import Path

from unetr.errors import InputError


def file_sha256(path: Path) -> str:
    """Of the bytes of a file. Raises OSError."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def size_and_sha256(path: Path) -> tuple[int, str]:
    """Bytes and SHA-256 of a file.

    Of a folder, the size of all its files together and the SHA-256 of the lines `<sha256>  <name>` that sha256sum
    prints for them, sorted by name, hidden files left out. Raises InputError for what cannot be read.
    """
    try:
        if not path.is_dir():
            return path.stat().st_size, file_sha256(path)
        files = sorted((file.relative_to(path).as_posix(), file) for file in path.rglob("*") if file.is_file())
        shown = [(name, file) for name, file in files if not any(part.startswith(".") for part in Path(name).parts)]
        lines = "".join(f"{file_sha256(file)}  {name}\n" for name, file in shown)
        size = sum(file.stat().st_size for _, file in shown)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None
    return size, hashlib.sha256(lines.encode("utf-8", "surrogateescape")).hexdigest()
