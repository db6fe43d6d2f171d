"""Zip archives that nobody means well with: 42 kinds, each a few kilobytes to a few megabytes, none of them a scan.

Written field by field, since libraries refuse to write most of them. Where it makes a kind harder to refuse, a sound
DICOM series lies in the same archive.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

MEGABYTE = 1 << 20
DICOM_MAGIC = bytes(128) + b"DICM"
Slices = Mapping[str, bytes]


@dataclass(frozen=True)
class Entry:
    """An entry as its headers describe it; None for what is true. packed: its bytes in the archive."""

    name: bytes
    packed: bytes
    size: int
    crc: int
    method: int = 8
    flags: int = 0
    mode: int = 0o100600
    claimed_packed: int | None = None
    offset: int | None = None
    local_name: bytes | None = None
    extra: bytes = b""


def entry(name: str | bytes, data: bytes, **claims: object) -> Entry:
    """A sound entry, deflated, but for its claims."""
    packer = zlib.compressobj(1 if len(data) > MEGABYTE else 9, wbits=-15)
    true = {"packed": packer.compress(data) + packer.flush(), "size": len(data), "crc": zlib.crc32(data)}
    return Entry(name.encode() if isinstance(name, str) else name, **(true | claims))  # type: ignore[arg-type]


def zeros(megabytes: int, head: bytes = b"") -> bytes:
    return head + bytes(megabytes * MEGABYTE)


def written(
    entries: Sequence[Entry], *, directory_size: int | None = None, directory_offset: int | None = None,
    count: int | None = None, disk: int = 0, comment: bytes = b"",
) -> bytes:  # fmt: skip
    """The archive."""
    out, directory = bytearray(), bytearray()
    for one in entries:
        packed = len(one.packed) if one.claimed_packed is None else one.claimed_packed
        at = len(out) if one.offset is None else one.offset
        local = one.name if one.local_name is None else one.local_name
        common = (one.flags, one.method, 0, 33, one.crc, packed, one.size)
        out += struct.pack("<4sHHHHHIIIHH", b"PK\3\4", 20, *common, len(local), 0) + local + one.packed
        directory += struct.pack(
            "<4sHHHHHHIIIHHHHHII", b"PK\1\2", 0x314, 20, *common, len(one.name), len(one.extra), 0, 0, 0,
            one.mode << 16, at,
        )  # fmt: skip
        directory += one.name + one.extra
    number = len(entries) & 0xFFFF if count is None else count
    size = len(directory) if directory_size is None else directory_size
    at = len(out) if directory_offset is None else directory_offset
    end = struct.pack("<4sHHHHIIH", b"PK\5\6", disk, disk, number, number, size, at, len(comment))
    return bytes(out + directory + end + comment)


def sound(slices: Slices) -> list[Entry]:
    return [entry(name, data) for name, data in slices.items()]


def beside(name: str | bytes, **claims: object) -> Callable[[Slices], bytes]:
    """A series, and one entry with this name and these claims."""
    return lambda slices: written([*sound(slices), entry(name, b"x", **claims)])


def changed(**claims: object) -> Callable[[Slices], bytes]:
    """A series whose first file makes these claims."""

    def make(slices: Slices) -> bytes:
        first, *others = slices.items()
        return written([entry(*first, **claims), *sound(dict(others))])

    return make


def nested(depth: int, each: int = 1) -> bytes:
    """Archives in archives; the innermost holds zeros."""
    data = zeros(16)
    for level in range(depth):
        data = written([entry(f"{level}-{number}.zip", data) for number in range(each)])
    return data


@cache
def _bomb(megabytes: int, head: bytes = DICOM_MAGIC) -> Entry:
    return entry("a.dcm", zeros(megabytes, head))


def _shared(slices: Slices, times: int = 200) -> bytes:
    """All entries of the directory are one and the same in the file."""
    bomb = _bomb(50)
    others = (Entry(f"{n}.dcm".encode(), b"", bomb.size, bomb.crc, claimed_packed=len(bomb.packed), offset=0,
                    local_name=b"") for n in range(times))  # fmt: skip
    return written([bomb, *others])


def _quoted(slices: Slices) -> bytes:
    """Each entry's first block quotes the local header of the next, so that they share what comes behind it."""
    data = zeros(4, DICOM_MAGIC)
    entries = []
    for number in range(30):
        one = entry(f"{number:02}.dcm", data)
        quoted = struct.pack("<BHH", 0, 36, 0xFFFF ^ 36)
        entries.append(Entry(one.name, quoted, one.size, one.crc, claimed_packed=len(one.packed) + 41 * (30 - number)))
    return written([*entries, entry("kernel.dcm", data)])


def _itself(slices: Slices) -> bytes:
    """A stored entry whose bytes are the whole archive."""
    one = Entry(b"itself.zip", b"", 0, 0, method=0)
    size = len(written([one]))
    return written([Entry(b"itself.zip", b"", size, 0, method=0, claimed_packed=size)])


def _by_library(method: int) -> Callable[[Slices], bytes]:
    def make(slices: Slices) -> bytes:
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", method) as archive:
            archive.writestr("a.dcm", zeros(30, DICOM_MAGIC))
        return out.getvalue()

    return make


def _cut(slices: Slices) -> bytes:
    return written(sound(slices))[:-30]


def _broken_local(slices: Slices) -> bytes:
    return written(sound(slices)).replace(b"PK\3\4", b"PK\7\7", 1).replace(b"PK\7\7", b"PK\3\4\xff\xff", 1)


def _bits(slices: Slices) -> bytes:
    """Bytes that are no deflate, under a sound checksum."""
    return changed(packed=b"\xff" * 500)(slices)


_HUGE = b"\1\0\x10\0" + struct.pack("<QQ", 1 << 63, 1 << 62)  # sizes of zip64
_MOST = 0xFFFFFFFF

KINDS: dict[str, Callable[[Slices], bytes]] = {
    # What unpacks to much
    "zeros, 256 MB": lambda s: written([_bomb(256, b"")]),
    "DICOM of zeros, 256 MB": lambda s: written([_bomb(256)]),
    "40 of 50 MB": lambda s: written([replace(_bomb(50), name=b"%d.dcm" % number) for number in range(40)]),
    "250,000 entries": lambda s: written([Entry(b"%06x" % n, b"", 0, 0, method=0) for n in range(250_000)]),
    "archive in archive": lambda s: nested(1),
    "archives in archives, 6 deep": lambda s: nested(6),
    "16 archives in each of 16": lambda s: nested(2, 16),
    "itself": _itself,
    "one body for 200 entries": _shared,
    "quoted headers": _quoted,
    # Sizes and places that are not true
    "claims 4 GB": changed(size=0xFFFFFFF0),
    "claims 2 bytes": changed(size=2),
    "claims 2^63 bytes": beside("a.dcm", size=_MOST, claimed_packed=_MOST, extra=_HUGE),
    "packed beyond the end": changed(claimed_packed=0x7FFFFFFF),
    "packed into nothing": changed(claimed_packed=0),
    "begins beyond the end": changed(offset=0x7FFFFFFF),
    "begins in another": lambda s: written([*sound(s), entry("z.dcm", b"x", offset=10)]),
    "begins in the directory": lambda s: written([*sound(s), entry("z.dcm", b"x", offset=len(written(sound(s))) - 40)]),
    "directory of 2 GB": lambda s: written(sound(s), directory_size=0x7FFFFFFF),
    "directory beyond the end": lambda s: written(sound(s), directory_offset=0x7FFFFFFF),
    "wrong checksum": changed(crc=12345),
    "no deflate": _bits,
    "cut off": _cut,
    "damaged local header": _broken_local,
    "another name inside": changed(local_name=b"other.dcm"),
    "empty": lambda s: written([]),
    # Names
    "above the folder": beside("../../x.dcm"),
    "above, further down": beside("study/../../../x.dcm"),
    "absolute": beside("/etc/cron.d/x"),
    "drive": beside("C:/Windows/x.dcm"),
    "backslashes": beside("a\\..\\..\\x.dcm"),
    "network share": beside("\\\\server\\share\\x.dcm"),
    "escape characters": beside("a\x1b[31m.dcm"),
    "line ends": beside("a\r\nSet-Cookie: x=1.dcm"),
    "turned direction": beside("a\u202emcd.exe", flags=0x800),
    "no name": beside(b""),
    "twice the same": lambda s: written([*sound(s), entry(next(iter(s)), b"other")]),
    "devices": lambda s: written([entry(name, b"x") for name in ("CON", "NUL.dcm", "aux/COM1", "a:stream")]),
    # Kinds of entries
    "link": beside("link.dcm", mode=0o120777),
    "encrypted": changed(flags=1),
    "bzip2": _by_library(zipfile.ZIP_BZIP2),
    "lzma": _by_library(zipfile.ZIP_LZMA),
}  # fmt: skip
