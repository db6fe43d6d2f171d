"""Results in a real Orthanc: there once, as they were written, by both ways of sending."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pydicom
import pytest
from tests.node.delivery.made import FORMS, MadeResults, results_in, written_job
from tests.orthanc import Orthanc, free_port

from unetr.io.dicom.exchange import content_digest
from unetr.node.delivery.destination import Destination, DimseNode, StowService
from unetr.node.delivery.letters import LetterState
from unetr.node.delivery.outbox import Outbox, OutboxOptions
from unetr.node.delivery.senders import open_senders
from unetr.queue.record import JobState

Way = Callable[[Orthanc], Destination]
Errors = Callable[[Path], list[str]]
QUICK = OutboxOptions(first_s=0.05, longest_s=0.5, probe_s=0.2, poll_s=0.05)


@pytest.fixture
def pacs(orthanc: Orthanc) -> Orthanc:
    """It lets us read back by C-GET what we send."""
    orthanc.know("unetr", "UNETR", free_port())
    return orthanc


def stow(pacs: Orthanc) -> Destination:
    return Destination(name="pacs", stow=StowService(url=pacs.dicom_web), timeout_s=20)


def dimse(pacs: Orthanc) -> Destination:
    node = DimseNode(host="127.0.0.1", port=pacs.dicom_port, aet=pacs.aet, our_aet="UNETR")
    return Destination(name="pacs", dimse=node, timeout_s=20)


def delivered(results: MadeResults, destination: Destination) -> Outbox:
    """Makes tries until none is due."""
    outbox = Outbox(results, open_senders([destination]), QUICK)
    while outbox.step("pacs"):
        pass
    return outbox


@pytest.mark.parametrize("way", [stow, dimse])
def test_is_there_once_as_written(tmp_path: Path, pacs: Orthanc, way: Way, dicom_errors: Errors) -> None:
    results = results_in(tmp_path / "queue")
    job = written_job(results, tmp_path / "series", {"pacs": FORMS})
    before = {one["ID"] for one in pacs.instances()}
    outbox = delivered(results, way(pacs))
    assert outbox.letters.counts()[LetterState.DELIVERED] == 2, outbox.letters.dead()
    assert results.store.job(job).state == JobState.DELIVERED
    new = [one for one in pacs.instances() if one["ID"] not in before]
    assert sorted(one["Modality"] for one in new) == ["RTSTRUCT", "SEG"]
    for form, modality in (("dicom-seg", "SEG"), ("rtstruct", "RTSTRUCT")):
        theirs = pacs.file(next(one["ID"] for one in new if one["Modality"] == modality))
        ours = results.result(job, form)
        assert content_digest(io.BytesIO(theirs)) == content_digest(ours)
        assert pydicom.dcmread(io.BytesIO(theirs)) == pydicom.dcmread(ours)
        (tmp_path / "theirs.dcm").write_bytes(theirs)
        assert dicom_errors(tmp_path / "theirs.dcm") == []
