"""A PACS that fails: nothing is lost, nothing is there twice, and a yes is not believed."""

from __future__ import annotations

import time
from pathlib import Path

import pydicom
import pytest
from tests.node.delivery.fault_proxy import FaultProxy
from tests.node.delivery.made import FORMS, MadeResults, results_in, written_job
from tests.orthanc import Orthanc

from unetr.errors import InputError
from unetr.node.delivery.destination import Destination, StowService
from unetr.node.delivery.letters import Letter, LetterState
from unetr.node.delivery.outbox import Outbox, OutboxOptions
from unetr.node.delivery.senders import open_senders
from unetr.queue.record import JobState

QUICK = OutboxOptions(first_s=0.02, longest_s=0.2, probe_s=0.2, poll_s=0.02)


@pytest.fixture
def results(tmp_path: Path) -> MadeResults:
    return results_in(tmp_path / "queue")


def outbox_to(results: MadeResults, proxy: FaultProxy, options: OutboxOptions = QUICK, **more: object) -> Outbox:
    service = StowService(url=f"{proxy.url}/dicom-web")
    senders = open_senders([Destination(name="pacs", stow=service, timeout_s=5)])
    return Outbox(results, senders, options, **more)  # type: ignore[arg-type]


def letter_of(outbox: Outbox) -> Letter:
    (letter,) = outbox.letters.open("pacs") + outbox.letters.dead()
    return letter


def until_delivered(outbox: Outbox, results: MadeResults, job: str, longest_s: float = 10) -> float:
    """Seconds until the outbox's thread has delivered the job."""
    begun = time.monotonic()
    with outbox:
        while time.monotonic() < begun + longest_s:
            if results.store.job(job).state == JobState.DELIVERED:
                return time.monotonic() - begun
            time.sleep(0.02)
    raise AssertionError([outbox.letters.open("pacs"), outbox.letters.dead()])


def kept(pacs: Orthanc, results: MadeResults, job: str, form: str = "dicom-seg") -> list[bytes]:
    """What the PACS has of a job's study in the form's modality."""
    ours = pydicom.dcmread(results.result(job, form), stop_before_pixels=True)
    found = [pacs.file(one["ID"]) for one in pacs.instances(ours.Modality)]
    return [each for each in found if ours.StudyInstanceUID.encode() in each]


def test_busy_waits_as_long_as_it_is_told(
    results: MadeResults, proxy: FaultProxy, pacs: Orthanc, tmp_path: Path
) -> None:
    job = written_job(results, tmp_path / "series", {"pacs": ("dicom-seg",)})
    outbox, proxy.fault = outbox_to(results, proxy, OutboxOptions(first_s=0.01)), "busy"
    asked = time.time()
    assert outbox.step("pacs")
    letter = letter_of(outbox)
    assert (letter.state, letter.attempts) == (LetterState.WAITING, 1)
    assert "503" in str(letter.error)
    assert 0.9 <= letter.next_s - asked <= 2
    assert not outbox.step("pacs"), "it is not asked before its time"
    proxy.fault = ""
    until_delivered(outbox_to(results, proxy), results, job)
    assert len(kept(pacs, results, job)) == 1


def test_what_arrived_is_not_sent_again(results: MadeResults, proxy: FaultProxy, pacs: Orthanc, tmp_path: Path) -> None:
    job = written_job(results, tmp_path / "series", {"pacs": FORMS})
    outbox, proxy.fault = outbox_to(results, proxy), "lose answer"
    until_delivered(outbox, results, job)
    assert [one for one in proxy.seen if one.startswith("POST")] == ["POST lost"] * 2
    assert [len(kept(pacs, results, job, form)) for form in FORMS] == [1, 1]


def test_dropped_connections_lose_nothing(
    results: MadeResults, proxy: FaultProxy, pacs: Orthanc, tmp_path: Path
) -> None:
    job = written_job(results, tmp_path / "series", {"pacs": FORMS})
    outbox, proxy.fault = outbox_to(results, proxy), "drop"
    for _ in range(4):
        outbox.step("pacs")
        time.sleep(0.05)
    assert results.store.job(job).state == JobState.WRITTEN
    assert kept(pacs, results, job) == []
    proxy.fault = ""
    until_delivered(outbox, results, job)
    assert [len(kept(pacs, results, job, form)) for form in FORMS] == [1, 1]


def test_another_object_of_the_same_uid_is_a_dead_letter(
    results: MadeResults, proxy: FaultProxy, pacs: Orthanc, tmp_path: Path
) -> None:
    job = written_job(results, tmp_path / "series", {"pacs": ("dicom-seg",)})
    path = results.result(job, "dicom-seg")
    other = pydicom.dcmread(path)
    other.ContentDescription = "Not what was written"
    other.save_as(tmp_path / "other.dcm")
    pacs.store([tmp_path / "other.dcm"])
    told: list[str] = []
    outbox = outbox_to(results, proxy, note=told.append)
    assert outbox.step("pacs")
    assert "POST 200" in proxy.seen, "Orthanc says yes and keeps the other one"
    letter = letter_of(outbox)
    assert letter.state == LetterState.DEAD
    assert "another object of the same UID" in str(letter.error)
    assert results.store.job(job).state == JobState.WRITTEN
    assert [f"dicom-seg of job {job} is not sent to pacs any more" in one for one in told] == [True]
    pacs.fetch(f"/instances/{next(one['ID'] for one in pacs.instances('SEG') if _is(one, other))}", method="DELETE")
    assert outbox.letters.retry([letter.number]) == 1
    until_delivered(outbox, results, job)


def _is(one: dict[str, str], dataset: pydicom.Dataset) -> bool:
    return one["SOPInstanceUID"] == dataset.SOPInstanceUID


def test_killed_pacs_gets_it_soon_after_it_is_back(results: MadeResults, tmp_path: Path, pacs: Orthanc) -> None:
    job = written_job(results, tmp_path / "series", {"pacs": FORMS})
    pacs.kill()
    service = StowService(url=pacs.dicom_web)
    # Without a look at the PACS, the next try would be an hour away.
    options = OutboxOptions(first_s=3600, longest_s=3600, probe_s=0.1, poll_s=0.02)
    outbox = Outbox(results, open_senders([Destination(name="pacs", stow=service)]), options)
    with outbox:
        time.sleep(0.5)
        assert results.store.job(job).state == JobState.WRITTEN
        assert all(letter.next_s > time.time() + 1000 for letter in outbox.letters.open("pacs"))
        pacs.start()
        back = time.monotonic()
        while results.store.job(job).state != JobState.DELIVERED and time.monotonic() < back + 10:
            time.sleep(0.02)
    assert results.store.job(job).state == JobState.DELIVERED
    assert [len(kept(pacs, results, job, form)) for form in FORMS] == [1, 1]


@pytest.mark.parametrize(
    ("given", "header"),
    [
        ({"token_file": "secret"}, "Bearer s3cret"),
        ({"user": "unetr", "password_file": "secret"}, "Basic dW5ldHI6czNjcmV0"),
    ],
)
def test_says_who_it_is_and_tells_nobody_else(
    results: MadeResults, proxy: FaultProxy, pacs: Orthanc, tmp_path: Path, given: dict[str, str], header: str
) -> None:
    (tmp_path / "secret").write_text("s3cret\n")
    told = {name: tmp_path / value if name.endswith("file") else value for name, value in given.items()}
    service = StowService(url=f"{proxy.url}/dicom-web/", **told)  # type: ignore[arg-type]
    job = written_job(results, tmp_path / "series", {"pacs": ("dicom-seg",)})
    outbox, proxy.fault = Outbox(results, open_senders([Destination(name="pacs", stow=service)]), QUICK), "refuse"
    outbox.step("pacs")
    assert "wants to know who asks (401)" in str(letter_of(outbox).error)
    assert "s3cret" not in repr(service) + str(letter_of(outbox))
    proxy.fault = ""
    until_delivered(outbox, results, job)
    assert proxy.asked_by == {header}


def test_a_secret_that_cannot_be_read_is_told_at_the_start(tmp_path: Path) -> None:
    service = StowService(url="http://127.0.0.1:9/dicom-web", token_file=tmp_path / "none")
    with pytest.raises(InputError, match="expected a file with the secret"):
        open_senders([Destination(name="pacs", stow=service)])
