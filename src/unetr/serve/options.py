"""What a server may be told at its start. Safe as it stands: this machine alone, and no files beyond the limits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

MOST_UPLOAD_BYTES = 4_000_000_000
MOST_UPLOAD_FILES = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeOptions:
    """What a server may be told at its start; `unetr.serve.safety.exposure.check_exposure` says what goes together.

    allowed_hosts: names by which it may be asked, beside those of the loopback and `host`. allowed_origins: of the web
    viewers elsewhere that may ask it, such as "https://ohif.example.org". tokens: the file of hashed tokens; where it
    holds one, whoever asks needs one. insecure: another address than the loopback's may do without TLS.
    ohif: the folder of a built OHIF that is served as well. pacs: the address of the DICOMweb of a PACS that OHIF asks
    through this server. most_upload_bytes, most_upload_files: of one upload.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    allowed_hosts: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()
    tokens: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    insecure: bool = False
    most_upload_bytes: int = MOST_UPLOAD_BYTES
    most_upload_files: int = MOST_UPLOAD_FILES
    ohif: Path | None = None
    pacs: str | None = None
