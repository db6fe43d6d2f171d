"""What every way of sending does, and what may come of it."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import BinaryIO, Protocol

from unetr.errors import InputError
from unetr.io.dicom.exchange import ObjectIdentity, content_digest

# A look, and reaching a destination at all, take no longer than this: one that is back is soon seen to be.
QUICK_S = 10.0


class Held(StrEnum):
    """What a destination has under an object's UID. NAMED: something, which it does not let us read."""

    ABSENT = "absent"
    SAME = "same"
    OTHER = "other"
    NAMED = "named"


class DeliveryError(Exception):
    """A try has failed. The words are for people, and never hold what a destination answered at length.

    away: the destination cannot be reached or has no time, whatever is sent. final: no further try would help.
    retry_after_s: when it wants to be asked again, as far as it says.
    """

    def __init__(
        self, words: str, *, away: bool = False, final: bool = False, retry_after_s: float | None = None
    ) -> None:
        super().__init__(words)
        self.away = away
        self.final = final
        self.retry_after_s = retry_after_s


class UnclearError(DeliveryError):
    """The destination answers, and does not say whether it has the object: some fail in that way where they do not."""


class Sender(Protocol):
    """A way to one destination. Its methods block, and raise DeliveryError."""

    def send(self, path: Path, identity: ObjectIdentity) -> None:
        """Sends a file; returns where the destination says that it has it."""

    def held(self, identity: ObjectIdentity, content: str) -> Held:
        """What is there. content: the digest of what should be."""

    def look(self) -> None:
        """Asks as a try does, without sending anything; returns where the destination answers as one that is well."""


def compared(stream: BinaryIO, content: str) -> Held:
    """What came back, against the digest of what should have; what cannot be read is something else."""
    try:
        return Held.SAME if content_digest(stream) == content else Held.OTHER
    except InputError:
        return Held.OTHER


# Of PS3.4, annexes B and GG: the destination would refuse the same object each time.
_NEVER = (range(0x0122, 0x0123), range(0xA900, 0xAA00), range(0xC000, 0xD000))


def refusal(status: int) -> DeliveryError:
    """The error for a storage status of DIMSE, or a failure reason of STOW-RS, that is no success."""
    final = any(status in never for never in _NEVER)
    full = 0xA700 <= status <= 0xA7FF
    words = "has no room for it" if full else "does not accept such an object" if final else "could not store it"
    return DeliveryError(f"the destination {words} (status {status:04X})", away=full, final=final)
