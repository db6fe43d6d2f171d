"""C-GET that breaks, refuses or finds nothing: only where it is not offered does C-FIND's word count."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.uid import SegmentationStorage
from pynetdicom import AE, evt
from tests.node.delivery.made import MadeResults, results_in, written_job

from unetr.io.dicom.exchange import content_digest, identity_of
from unetr.node.delivery.destination import DimseNode
from unetr.node.delivery.dimse import DimseSender
from unetr.node.delivery.sender import DeliveryError, Held

_FIND, _GET = "1.2.840.10008.5.1.4.1.2.2.1", "1.2.840.10008.5.1.4.1.2.2.3"
Get = Callable[[evt.Event, Path], Iterator[Any]]


@pytest.fixture(scope="module")
def seg(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    results: MadeResults = results_in(folder / "queue")
    return results.result(written_job(results, folder / "series", {"pacs": ("dicom-seg",)}), "dicom-seg")


@contextmanager
def pacs(seg: Path, get: Get | None, takes_role: bool = True) -> Iterator[DimseSender]:
    """One that has an object of the UID, as C-FIND says, and does `get` for C-GET; None: it offers no C-GET."""
    entity = AE(ae_title="PACS")
    entity.add_supported_context(_FIND)
    entity.add_supported_context(SegmentationStorage, scu_role=takes_role, scp_role=takes_role)

    def find(event: evt.Event) -> Iterator[Any]:
        yield 0xFF00, event.identifier

    handlers: list[Any] = [(evt.EVT_C_FIND, find)]
    if get is not None:
        entity.add_supported_context(_GET)
        handlers.append((evt.EVT_C_GET, get, [seg]))
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    try:
        port = server.server_address[1]
        yield DimseSender(DimseNode(host="127.0.0.1", port=port, aet="PACS"), timeout_s=10)
    finally:
        server.shutdown()


def gives(event: evt.Event, seg: Path) -> Iterator[Any]:
    yield 1
    yield 0xFF00, pydicom.dcmread(seg)


def has_none(event: evt.Event, seg: Path) -> Iterator[Any]:
    yield 0


def breaks(event: evt.Event, seg: Path) -> Iterator[Any]:
    event.assoc.dul.socket.socket.shutdown(socket.SHUT_RDWR)  # as a cable that is pulled out
    yield 0


def aborts(event: evt.Event, seg: Path) -> Iterator[Any]:
    event.assoc.abort()
    yield 0


def says(status: int) -> Get:
    def get(event: evt.Event, seg: Path) -> Iterator[Any]:
        yield 1
        yield status, None

    return get


def held(seg: Path, get: Get | None, **more: bool) -> Held:
    with pacs(seg, get, **more) as sender:
        return sender.held(identity_of(seg), content_digest(seg))


def test_what_is_given_back_is_compared(seg: Path) -> None:
    assert held(seg, gives) is Held.SAME


def test_what_it_does_not_have_is_absent_whatever_c_find_says(seg: Path) -> None:
    assert held(seg, has_none) is Held.ABSENT


@pytest.mark.parametrize("get", [None, aborts, says(0x0124), says(0x0122)])
def test_where_c_get_is_not_offered_c_find_counts(seg: Path, get: Get | None) -> None:
    assert held(seg, get) is Held.NAMED


def test_where_it_sends_no_objects_of_this_kind_c_find_counts(seg: Path) -> None:
    assert held(seg, gives, takes_role=False) is Held.NAMED


def test_a_fault_of_the_network_is_a_failed_try(seg: Path) -> None:
    with pytest.raises(DeliveryError, match="stopped answering") as told:
        held(seg, breaks)
    assert told.value.away and not told.value.final


@pytest.mark.parametrize("status", [0xA701, 0xA702, 0xC001])
def test_a_c_get_that_fails_is_a_failed_try(seg: Path, status: int) -> None:
    with pytest.raises(DeliveryError, match=f"status {status:04X}") as told:
        held(seg, says(status))
    assert not told.value.final
