"""The parts of a multipart body as they arrive: which begin a file, which a field, and where each ends."""

from __future__ import annotations

from typing import Protocol

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header

from unetr.serve.web.errors import RefusedError

_HEADER_BYTES = 8 * 1024


class PartWriter(Protocol):
    """Where parts go. data: of the part that began last."""

    def begin_file(self, name: str) -> None:  # noqa: D102
        ...

    def begin_field(self, name: str) -> None:  # noqa: D102
        ...

    def data(self, data: bytes) -> None:  # noqa: D102
        ...

    def end(self) -> None:  # noqa: D102
        ...


class Parts:
    """Feeds the parts of a body to a writer. Of a part's headers, only the field's name is looked at."""

    def __init__(self, boundary: bytes, writer: PartWriter) -> None:
        self._writer = writer
        self._name = self._value = b""
        self._disposition = b""
        self._header_bytes = 0
        self._complete = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": self._on_name,
                "on_header_value": self._on_value,
                "on_header_end": self._on_header,
                "on_headers_finished": self._on_headers,
                "on_part_data": self._on_data,
                "on_part_end": writer.end,
                "on_end": self._on_end,
            },
        )

    def feed(self, data: bytes) -> None:
        """The next bytes of the body; the last call is with those that end it. Raises RefusedError."""
        try:
            self._parser.write(data)
        except MultipartParseError as error:
            raise RefusedError("the upload is no multipart/form-data as browsers send it; send it again") from error

    def finish(self) -> None:
        """Raises RefusedError where the body has ended in the middle of a part."""
        if not self._complete:
            raise RefusedError("the upload ends before its last part does; send it again")

    def _begin(self) -> None:
        self._disposition, self._header_bytes = b"", 0

    def _on_name(self, data: bytes, start: int, end: int) -> None:
        self._name += self._bounded(data[start:end])

    def _on_value(self, data: bytes, start: int, end: int) -> None:
        self._value += self._bounded(data[start:end])

    def _bounded(self, told: bytes) -> bytes:
        self._header_bytes += len(told)
        if self._header_bytes > _HEADER_BYTES:
            raise RefusedError(f"the headers of a part of the upload have more than {_HEADER_BYTES} bytes")
        return told

    def _on_header(self) -> None:
        if self._name.lower() == b"content-disposition":
            self._disposition = self._value
        self._name = self._value = b""

    def _on_headers(self) -> None:
        _, told = parse_options_header(self._disposition.decode("latin-1"))
        name = told.get(b"name", b"").decode("latin-1")
        if b"filename" in told:
            self._writer.begin_file(name)
        else:
            self._writer.begin_field(name)

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        self._writer.data(data[start:end])

    def _on_end(self) -> None:
        self._complete = True
