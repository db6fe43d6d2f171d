"""`/session/`: an image that is uploaded once and then asked about by the id of a session."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from fastapi import Request

from unetr.serve.monai_label.named.images import Image
from unetr.serve.monai_label.named.scans import Scans
from unetr.serve.web.errors import NotFoundError
from unetr.serve.web.uploads import receive


@dataclass(frozen=True, slots=True)
class SessionRoutes:
    """The routes."""

    scans: Scans

    async def create(self, request: Request) -> dict[str, Any]:
        """Keeps the files of one scan, whatever their names, and opens a session of it."""
        async with receive(request, self.scans.serving, ("client_id", "params")) as upload:
            named = await self.scans.given(upload.files)
        images = self.scans.images
        session = images.open_session(named.scan)
        image = images.session(session)
        assert image is not None  # noqa: S101  # it was opened just now
        return {"session_id": session, "session_info": self._told(image)}

    async def read(self, session_id: str) -> dict[str, Any]:
        """The session, or `{}` where it has ended: then 3D Slicer uploads again, which it does not after an error."""
        image = self.scans.images.session(session_id)
        return {} if image is None else self._told(image)

    async def remove(self, session_id: str) -> dict[str, Any]:
        """Ends the session. Its scan stays as long as those of others."""
        image = self.scans.images.session(session_id)
        if image is None or not self.scans.images.close_session(session_id):
            raise NotFoundError("there is no such session, or it has ended")
        return self._told(image)

    def _told(self, image: Image) -> dict[str, Any]:
        """As MONAI Label tells it; no name and no path of this machine is in it."""
        images, now = self.scans.images, time.time()
        return {
            "name": image.scan,
            "path": "",
            "image": image.scan,
            "meta": {},
            "create_ts": int(now - images.age_s(image)),
            "last_access_ts": int(now),
            "expiry": int(images.longest_s),
        }
