"""C-STORE with a real Orthanc that lets us read back, only look, or neither; and with none at all."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.node.delivery.made import FORMS, MadeResults, results_in, written_job
from tests.orthanc import Orthanc, free_port

from unetr.node.delivery.destination import Destination, DimseNode
from unetr.node.delivery.letters import LetterState
from unetr.node.delivery.outbox import Outbox, OutboxOptions
from unetr.node.delivery.senders import open_senders
from unetr.queue.files.audit import Audit

Tried = Callable[..., tuple[Outbox, str]]


@pytest.fixture
def results(tmp_path: Path) -> MadeResults:
    made = results_in(tmp_path / "queue")
    written_job(made, tmp_path / "series", {"pacs": FORMS})
    return made


@pytest.fixture
def tried(results: MadeResults) -> Tried:
    """tried(port, title="ORTHANC"): one try for each letter; the outbox, and what the audit log then holds."""

    def make(port: int, aet: str = "ORTHANC") -> tuple[Outbox, str]:
        node = DimseNode(host="127.0.0.1", port=port, aet=aet, our_aet="UNETR")
        senders = open_senders([Destination(name="pacs", dimse=node, timeout_s=10)])
        outbox = Outbox(results, senders, OutboxOptions(first_s=3600), audit=Audit(results.folder.audit))
        while outbox.step("pacs"):
            pass
        return outbox, results.folder.audit.read_text() if results.folder.audit.exists() else ""

    return make


def allow(pacs: Orthanc, **what: bool) -> None:
    """What Orthanc lets us do."""
    told = {"AET": "UNETR", "Host": "127.0.0.1", "Port": free_port(), "AllowStore": True, **what}
    pacs.fetch("/modalities/unetr", json.dumps(told).encode(), "PUT")


def test_is_compared_where_it_can_be_read(orthanc: Orthanc, tried: Tried) -> None:
    allow(orthanc, AllowGet=True, AllowFind=False)
    outbox, audit = tried(orthanc.dicom_port)
    assert outbox.letters.counts()[LetterState.DELIVERED] == 2, outbox.letters.open("pacs")
    assert audit.count('"delivered: ') == 2
    assert len(orthanc.instances()) == 2


def test_is_looked_for_by_uid_where_that_is_all_there_is(orthanc: Orthanc, tried: Tried) -> None:
    allow(orthanc, AllowGet=False, AllowFind=True)
    outbox, audit = tried(orthanc.dicom_port)
    assert outbox.letters.counts()[LetterState.DELIVERED] == 2, outbox.letters.open("pacs")
    assert audit.count('"delivered, by its UID alone: ') == 2


def test_is_not_delivered_where_nobody_can_look(orthanc: Orthanc, tried: Tried) -> None:
    allow(orthanc, AllowGet=False, AllowFind=False)
    outbox, audit = tried(orthanc.dicom_port)
    letters = outbox.letters.open("pacs")
    assert [(each.state, each.attempts) for each in letters] == [(LetterState.WAITING, 1)] * 2
    assert ["C-GET or C-FIND" in str(each.error) for each in letters] == [True, True], letters
    assert audit == ""
    allow(orthanc, AllowGet=True)
    outbox.letters.hurry("pacs")
    while outbox.step("pacs"):
        pass
    assert outbox.letters.counts()[LetterState.DELIVERED] == 2, outbox.letters.open("pacs")
    assert len(orthanc.instances()) == 2


def test_a_name_that_is_not_known_now_is_away(
    orthanc: Orthanc, results: MadeResults, monkeypatch: pytest.MonkeyPatch
) -> None:
    allow(orthanc, AllowGet=True)
    node = DimseNode(host="localhost", port=orthanc.dicom_port, aet="ORTHANC", our_aet="UNETR")
    senders, clock = open_senders([Destination(name="pacs", dimse=node, timeout_s=10)]), [1e6]
    outbox = Outbox(results, senders, OutboxOptions(first_s=3600), clock=lambda: clock[0])

    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    with monkeypatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", unknown)
        assert outbox.step("pacs") and outbox.step("pacs")
        clock[0] += 30
        assert not outbox.step("pacs")
    assert ["address cannot be found" in str(each.error) for each in outbox.letters.open("pacs")] == [True, True]
    clock[0] += 30
    assert outbox.step("pacs") and outbox.step("pacs"), "it is not waited for an hour"
    assert outbox.letters.counts()[LetterState.DELIVERED] == 2, outbox.letters.open("pacs")


def test_nobody_there_is_away(tried: Tried) -> None:
    outbox, _ = tried(free_port())
    assert ["cannot be reached" in str(each.error) for each in outbox.letters.open("pacs")] == [True, True]
