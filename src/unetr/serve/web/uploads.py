"""Files that arrive over HTTP: streamed to disk under names made here, with limits that hold while they arrive.

What a client calls its files is neither used nor kept: such names carry paths and patients.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import anyio
from fastapi import Request
from python_multipart.multipart import parse_options_header

from unetr.core.machine.system import BINARY
from unetr.errors import InputError, MachineError, NoRoomError, machine_kind
from unetr.queue.service import Received
from unetr.serve.options import ServeOptions
from unetr.serve.web.bodies import takes_large_body
from unetr.serve.web.errors import RefusedError, TooLargeError
from unetr.serve.web.multipart import Parts
from unetr.serve.web.serving import Serving

# So much is gathered before a thread writes it: few turns, and little memory with many clients.
_PIECE = 512 * 1024
# What stays free for the database and for results.
_RESERVE_BYTES = 64_000_000
_LOOK_EVERY_BYTES = 16_000_000
# What multipart adds to each file, so that a body that cannot fit is refused before it is read.
_PART_OVERHEAD = 512
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | BINARY
_FIELD_BYTES = 64 * 1024


@dataclass(slots=True)
class Upload:
    """What has arrived. files: complete and flushed to disk, in their order. fields: text beside the files.

    names: of the fields that the files came in, which are words of an API, unlike what a client calls its files.
    """

    files: list[Received] = field(default_factory=list)
    fields: dict[str, str] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)

    def of(self, name: str) -> list[Received]:
        """The files that came in this field."""
        return [file for file, its in zip(self.files, self.names, strict=True) if its == name]


@asynccontextmanager
async def receive(request: Request, serving: Serving, fields: tuple[str, ...] = ()) -> AsyncIterator[Upload]:
    """The body of a request as files: each file of a multipart body, or the whole of any other.

    fields: names of text parts that may come with the files. Whatever the caller has not moved elsewhere is removed at
    the end, also when the client goes away. Raises RefusedError, and NoRoomError where the disk is full.
    """
    takes_large_body(request)
    _refuse_what_cannot_fit(request, serving)
    writer = _Writer(
        serving.service.new_incoming, serving.options.most_upload_bytes, serving.options.most_upload_files, fields
    )
    try:
        await _read(request, serving, writer)
        yield writer.upload
    finally:
        if writer.has_begun:  # those of whom nothing has come cost neither a thread nor the disk
            with anyio.CancelScope(shield=True):
                await serving.threads.disk(writer.close)


async def _read(request: Request, serving: Serving, writer: _Writer) -> None:
    kind, options = parse_options_header(request.headers.get("content-type"))
    if kind == b"multipart/form-data":
        boundary = options.get(b"boundary", b"")
        if not 0 < len(boundary) <= 70:
            raise RefusedError("the upload names no boundary; expected multipart/form-data as browsers send it")
        parts = Parts(boundary, writer)
        feed, finish = parts.feed, parts.finish
    else:
        feed, finish = writer.whole, writer.end
    piece, left = bytearray(), _most_body(serving.options)
    async for chunk in request.stream():
        piece += chunk
        left -= len(chunk)
        if left < 0:  # also of what no file has, such as an end that does not end
            raise _too_large(serving.options.most_upload_bytes)
        if len(piece) >= _PIECE:
            await serving.threads.disk(feed, bytes(piece))
            piece.clear()
    await serving.threads.disk(feed, bytes(piece))
    await serving.threads.disk(finish)


def _refuse_what_cannot_fit(request: Request, serving: Serving) -> None:
    """Before a byte of it is read. Raises RefusedError, NoRoomError."""
    told = request.headers.get("content-length")
    if told is None:
        return
    size = int(told)  # the server has checked that it is a number
    if size > _most_body(serving.options):
        raise _too_large(serving.options.most_upload_bytes)
    _refuse_without_room(serving.service.folder.path, size)


def _most_body(options: ServeOptions) -> int:
    """Bytes of a body that may still fit."""
    return options.most_upload_bytes + _PART_OVERHEAD * options.most_upload_files


def _refuse_without_room(folder: Path, size: int) -> None:
    if size + _RESERVE_BYTES > shutil.disk_usage(folder).free:
        raise NoRoomError("the server's disk has no room for this upload; free space there, or try again later")


def _too_large(most: int) -> TooLargeError:
    return TooLargeError(f"the upload is larger than {most / 1e6:.0f} MB, which is the most that this server takes")


class _Writer:
    """Writes files one after the other, with their digests. Used by one thread at a time, and never by the event loop.

    new_folder: makes a folder for them, once the first file begins. has_begun: whether it did.
    """

    def __init__(
        self, new_folder: Callable[[], Path], most_bytes: int, most_files: int, fields: tuple[str, ...]
    ) -> None:
        self.upload = Upload()
        self._new_folder, self._folder = new_folder, Path()
        self._most_bytes, self._most_files, self._known = most_bytes, most_files, fields
        self.has_begun = False
        self._bytes = self._look_again = 0
        self._file: BinaryIO | None = None
        self._field: tuple[str, bytearray] | None = None
        self._digest, self._name = hashlib.sha256(), ""

    def begin_file(self, name: str) -> None:
        if len(self.upload.files) >= self._most_files:
            raise TooLargeError(f"the upload has more than {self._most_files} files, which is the most at once")
        self._digest, self._name = hashlib.sha256(), name
        if not self.has_begun:
            self._folder, self.has_begun = self._new_folder(), True
        path = self._folder / f"{len(self.upload.files) + 1:05}.part"
        try:
            self._file = os.fdopen(os.open(path, _NEW_FILE, 0o600), "wb", buffering=0)
        except OSError as error:
            raise _refused_write(error) from error

    def begin_field(self, name: str) -> None:
        if name not in self._known or name in self.upload.fields:
            raise RefusedError("the upload has a field that is not known here; expected files")
        self._field = (name, bytearray())

    def whole(self, data: bytes) -> None:
        """More of a body that is one file as a whole."""
        if self._file is None:
            self.begin_file("")
        self.data(data)

    def data(self, data: bytes) -> None:
        if self._field is not None:
            self._field[1].extend(data)
            if len(self._field[1]) > _FIELD_BYTES:
                raise TooLargeError(f"a field of the upload has more than {_FIELD_BYTES} bytes")
        if self._file is None:
            return
        self._bytes += len(data)
        if self._bytes > self._most_bytes:
            raise _too_large(self._most_bytes)
        if self._bytes >= self._look_again:  # whoever tells no length is looked after on the way
            self._look_again = self._bytes + _LOOK_EVERY_BYTES
            _refuse_without_room(self._folder, 0)
        self._digest.update(data)
        try:
            left = memoryview(data)
            while left:
                left = left[self._file.write(left) :]
        except OSError as error:
            raise _refused_write(error) from error

    def end(self) -> None:
        """Ends the file or field that has begun. Raises RefusedError where the file is empty."""
        if self._field is not None:
            name, told = self._field
            self.upload.fields[name] = told.decode("utf-8", "replace")
            self._field = None
        if self._file is None:
            return
        size = self._file.tell()
        if size == 0:
            raise RefusedError("a file of the upload is empty; expected a scan")
        try:
            os.fsync(self._file.fileno())
            self._file.close()
        except OSError as error:
            raise _refused_write(error) from error
        path = Path(self._folder / f"{len(self.upload.files) + 1:05}.part")
        self.upload.files.append(Received(path, self._digest.hexdigest(), size))
        self.upload.names.append(self._name)
        self._file = None

    def close(self) -> None:
        """Removes what nobody has moved elsewhere."""
        if self._file is not None:
            self._file.close()
        shutil.rmtree(self._folder, ignore_errors=True)


def _refused_write(error: OSError) -> MachineError:
    told = f"the server cannot write the upload: {error.strerror or 'refused'}; free space there, or try again later"
    return machine_kind(error.errno)(told)


def only_file(upload: Upload) -> Received:
    """The one file of an upload. Raises InputError."""
    if len(upload.files) != 1:
        raise InputError(f"the upload has {len(upload.files)} files; expected one")
    return upload.files[0]
