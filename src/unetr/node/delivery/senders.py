"""From a node's destinations to what sends to them."""

from __future__ import annotations

from collections.abc import Sequence

from unetr.node.delivery.destination import Destination
from unetr.node.delivery.dimse import DimseSender
from unetr.node.delivery.sender import Sender
from unetr.node.delivery.stow import StowSender


def open_senders(destinations: Sequence[Destination]) -> dict[str, Sender]:
    """A sender for each destination, by its name. Nothing is asked yet. Raises InputError for secrets not readable."""
    return {each.name: _sender(each) for each in destinations}


def _sender(destination: Destination) -> Sender:
    if destination.stow is not None:
        return StowSender(destination.stow, destination.timeout_s)
    if destination.dimse is not None:
        return DimseSender(destination.dimse, destination.timeout_s)
    raise AssertionError("checked by Destination")
