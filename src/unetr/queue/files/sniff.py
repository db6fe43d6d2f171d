"""What a file is, from its first bytes alone: its name is of whoever sent it, and says nothing."""

from __future__ import annotations

import zlib
from pathlib import Path

from unetr.errors import InputError
from unetr.io.dicom.files import begins_like_dicom
from unetr.io.stream import GZIP_MAGIC

DICOM, ARCHIVE = ".dcm", ".zip"
_HEAD = 4096
_NIFTI_HEADER = 352
EXPECTED = "expected NIfTI, NRRD, MetaImage (.mha), DICOM, or a zip of DICOM"


def suffix_of(path: Path) -> str:
    """How this program names a file with this content: .nii.gz, .nii, .nrrd, .mha, .dcm or .zip.

    Nothing for what is no scan. Raises InputError where it cannot be read.
    """
    try:
        with path.open("rb") as handle:
            return _suffix(handle.read(_HEAD))
    except OSError as error:
        raise InputError(f"the file: cannot be read: {error.strerror or error}") from None


def _suffix(head: bytes) -> str:
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return ARCHIVE
    if head.startswith(b"NRRD000"):
        return ".nrrd"
    if head.startswith(GZIP_MAGIC):
        return ".nii.gz" if _is_nifti(_unpacked(head)) else ""
    if _is_nifti(head):
        return ".nii"
    first = head.split(b"\n", 1)[0].partition(b"=")[0].strip()
    if first in (b"ObjectType", b"NDims", b"Comment"):
        return ".mha"
    return DICOM if begins_like_dicom(head) else ""


def _is_nifti(head: bytes) -> bool:
    """Whether these bytes begin with a header of a NIfTI, or of a pair of files, which reading then refuses."""
    return head[344:347] in (b"n+1", b"ni1") or head[4:7] in (b"n+2", b"ni2")


def _unpacked(head: bytes) -> bytes:
    try:
        return zlib.decompressobj(wbits=31).decompress(head, _NIFTI_HEADER)
    except zlib.error:
        return b""
