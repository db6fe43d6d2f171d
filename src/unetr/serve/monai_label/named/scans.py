"""From what a client says to a scan of the queue: an upload, a session, a name, an id, or a series of the PACS."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass

from unetr.dicomweb.address import is_uid
from unetr.errors import InputError
from unetr.queue.record import ScanRecord
from unetr.queue.service import Received
from unetr.serve.monai_label.named.images import Images
from unetr.serve.web.errors import NotFoundError, found
from unetr.serve.web.serving import Serving

_SCAN_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Named:
    """A scan that a request is about. job: the last one that was done for whoever named it."""

    scan: str
    job: str | None = None


@dataclass(frozen=True, slots=True)
class Scans:
    """Finds and keeps the scans of requests. images: what clients have named."""

    serving: Serving
    images: Images

    async def given(self, files: Sequence[Received]) -> Named:
        """A scan that came with the request."""
        record = await self.serving.threads.reader(self.serving.service.keep_scan, files)
        return Named(record.id)

    async def find(self, image: str, session: str = "") -> Named:
        """The scan of a session or else of a name, as last known. Raises NotFoundError, PacsError, InputError."""
        known = self.images.session(session) if session else self.images.find(image)
        if known is not None:
            return Named(known.scan, known.job)
        if session:
            raise NotFoundError("there is no such session, or it has ended; upload the image again")
        if _SCAN_ID.fullmatch(image):
            record: ScanRecord = await self.serving.threads.quick(found, self.serving.service.store.scan, image)
            return Named(record.id)
        return await self._fetched(image)

    async def current(self, image: str, session: str = "") -> Named:
        """As `find`; but a series of the PACS is fetched again, as it may have grown."""
        known = None if session else self.images.find(image)
        if known is None or not known.from_pacs:
            return await self.find(image, session)
        return await self._fetched(image)

    async def _fetched(self, image: str) -> Named:
        if self.serving.options.pacs is None or not is_uid(image):
            raise NotFoundError("there is no such image here; upload it first")
        scan = await self.serving.threads.reader(self._from_pacs, self.serving.options.pacs, image)
        named = self.images.name(image, scan)
        named.from_pacs = True
        return Named(scan, named.job)

    def note(self, image: str, session: str, named: Named, job: str) -> None:
        """Remembers the job, so that a correction of the image is known to be one of the job's result."""
        if session and (known := self.images.session(session)) is not None:
            known.job = job
        if image:
            self.images.name(image, named.scan).job = job

    def _from_pacs(self, address: str, series: str) -> str:
        """Fetches a series and keeps it; the id of its scan."""
        from unetr.dicomweb.client import DicomWeb, FetchLimits

        service, options = self.serving.service, self.serving.options
        folder = service.new_incoming()
        limits = FetchLimits(most_bytes=options.most_upload_bytes, most_files=options.most_upload_files)
        try:
            with DicomWeb(address) as pacs:
                fetched = pacs.fetch(pacs.study_of(series), series, folder, limits)
            return service.keep_scan([Received(each.path, each.sha256, each.bytes) for each in fetched]).id
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def one_file(files: Sequence[Received]) -> Received:
    """The only file of an upload. Raises InputError."""
    if len(files) != 1:
        raise InputError(f"the upload has {len(files)} files of this kind; expected one")
    return files[0]
