"""Which scan a client means by a name that it made up, such as that of a volume in 3D Slicer, and by a session.

Such names may hold a patient's. None is kept: only a digest of it, with a key that ends with this process. What is
forgotten, because it is old or there are too many, the client sends again.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

SESSION_S = 3600.0
MOST = 1000


@dataclass(slots=True)
class Image:
    """A scan that a client has named. job: the last one that was done on it for this name. used_s: on the clock.

    from_pacs: it was not sent by a client; the name is that of a series.
    """

    scan: str
    job: str | None
    created_s: float
    used_s: float
    from_pacs: bool = False


class Images:
    """Names and sessions of clients. Safe to use from several threads.

    longest_s: after so long without use, either is forgotten. clock: seconds that only grow, for tests.
    """

    def __init__(self, longest_s: float = SESSION_S, clock: Callable[[], float] = time.monotonic) -> None:
        self.longest_s = longest_s
        self._clock = clock
        self._key = secrets.token_bytes(32)
        self._lock = threading.Lock()
        self._images: OrderedDict[bytes, Image] = OrderedDict()

    def open_session(self, scan: str) -> str:
        """A new session of a scan: its id."""
        session = secrets.token_hex(16)
        self.name(session, scan, _SESSION)
        return session

    def name(self, name: str, scan: str, kind: str = "image") -> Image:
        """From now on, the name means this scan. One that meant it before keeps its job."""
        with self._lock:
            self._forget()
            key, now = self._digest(kind, name), self._clock()
            found = self._images.get(key)
            if found is None or found.scan != scan:
                found = self._images[key] = Image(scan, None, now, now)
            found.used_s = now
            self._images.move_to_end(key)
            while len(self._images) > MOST:
                self._images.popitem(last=False)
            return found

    def find(self, name: str, kind: str = "image") -> Image | None:
        """What the name means, used just now."""
        with self._lock:
            self._forget()
            key = self._digest(kind, name)
            found = self._images.get(key)
            if found is not None:
                found.used_s = self._clock()
                self._images.move_to_end(key)
            return found

    def session(self, session: str) -> Image | None:
        """The scan of a session, which is used just now."""
        return self.find(session, _SESSION)

    def close_session(self, session: str) -> bool:
        """Ends a session; whether there was one."""
        with self._lock:
            self._forget()
            return self._images.pop(self._digest(_SESSION, session), None) is not None

    def age_s(self, image: Image) -> float:
        """How long ago it was named first."""
        return self._clock() - image.created_s

    def _digest(self, kind: str, name: str) -> bytes:
        return hashlib.blake2b(f"{kind}\0{name}".encode("utf-8", "replace"), key=self._key).digest()

    def _forget(self) -> None:
        oldest = self._clock() - self.longest_s
        while self._images and next(iter(self._images.values())).used_s < oldest:
            self._images.popitem(last=False)


_SESSION = "session"
