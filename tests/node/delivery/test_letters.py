"""The table of deliveries: made once, retried by people, forgotten with their jobs; and when the outbox gives up."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from tests.node.delivery.made import MadeResults, results_in, written_job

from unetr.errors import InputError, MachineError
from unetr.io.dicom.exchange import ObjectIdentity
from unetr.node.delivery.letters import Letters, LetterState
from unetr.node.delivery.outbox import Outbox, OutboxOptions
from unetr.node.delivery.sender import DeliveryError, Held
from unetr.queue.record import JobSpec, JobState


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


class Scripted:
    """A sender that does what it is told: an error to raise in each try, or what is then there."""

    def __init__(self, *script: DeliveryError | Held, up: bool = True) -> None:
        self.script = list(script)
        self.up = up
        self.sent = 0

    def send(self, path: Path, identity: ObjectIdentity) -> None:
        self.sent += 1
        if isinstance(self.script[0], DeliveryError):
            raise self.script.pop(0)  # type: ignore[misc]

    def held(self, identity: ObjectIdentity, content: str) -> Held:
        found = self.script[0] if self.script else Held.ABSENT
        return found if isinstance(found, Held) and self.sent else Held.ABSENT

    def look(self) -> None:
        if not self.up:
            raise DeliveryError("away", away=True)


@pytest.fixture
def results(tmp_path: Path) -> MadeResults:
    made = results_in(tmp_path / "queue")
    written_job(made, tmp_path / "series", {"pacs": ("dicom-seg",), "archive": ("dicom-seg", "rtstruct")})
    return made


def job_of(results: MadeResults) -> str:
    return results.store.jobs()[0].id


def test_are_made_once_and_forgotten_with_the_job(results: MadeResults) -> None:
    letters = Letters(results.store)
    assert (letters.collect(), letters.collect()) == (3, 0)
    assert [each.form for each in letters.open("archive")] == ["dicom-seg", "rtstruct"]
    results.store.submit(results.store.job(job_of(results)).spec, origin={"deliver": {"second": ["rtstruct"]}})
    assert (letters.collect(), letters.collect()) == (1, 0), "another rule wants the same work elsewhere, too"
    assert [each.form for each in letters.open("second")] == ["rtstruct"]
    results.store.forget(job_of(results))
    letters.collect()
    assert letters.counts() == dict.fromkeys(LetterState, 0)


def test_what_a_newer_job_supersedes_is_not_sent_any_more(results: MadeResults, tmp_path: Path) -> None:
    letters, first = Letters(results.store), job_of(results)
    letters.collect()
    sent = letters.open("pacs")[0]
    letters.delivered(sent)
    second = written_job(results, tmp_path / "more", {"archive": ("dicom-seg",)}, supersedes=first)
    letters.collect()
    assert [each.job for each in letters.open("archive")] == [second]
    assert letters.counts() | {} == dict.fromkeys(LetterState, 0) | {
        LetterState.DELIVERED: 1,
        LetterState.SUPERSEDED: 2,
        LetterState.WAITING: 1,
    }
    assert letters.dead() == []


def test_the_last_letter_delivers_the_job(results: MadeResults) -> None:
    letters = Letters(results.store)
    letters.collect()
    first, *rest = letters.open("archive") + letters.open("pacs")
    assert not letters.delivered(first)
    assert results.store.job(job_of(results)).state == JobState.WRITTEN
    assert [letters.delivered(each) for each in rest] == [False, True]
    assert results.store.job(job_of(results)).state == JobState.DELIVERED


def test_waits_twice_as_long_each_time_and_then_gives_up(results: MadeResults) -> None:
    clock, told = Clock(), []
    sender = Scripted(*[DeliveryError("no") for _ in range(60)])
    senders = {"pacs": sender, "archive": Scripted()}
    outbox = Outbox(results, senders, OutboxOptions(), note=told.append, clock=clock)
    begun, waits = clock.now, []
    while outbox.step("pacs") and not outbox.letters.dead():
        (letter,) = outbox.letters.open("pacs")
        waits.append(letter.next_s - clock.now)
        clock.now = letter.next_s
    for number, wait in enumerate(waits):
        most = min(3600, 2.0**number)
        assert 0.75 * most <= wait <= most
    assert waits[-1] > 2700
    assert 24 * 3600 <= clock.now - begun <= 25 * 3600 + 60
    assert sender.sent == len(waits) + 1
    (dead,) = outbox.letters.dead()
    assert dead.error == "no"
    assert "not sent to pacs any more: no" in told[-1]
    assert outbox.letters.retry([dead.number, dead.number, 999]) == 1
    assert outbox.letters.open("pacs")[0].since_s == clock.now


def test_a_yes_is_not_believed(results: MadeResults) -> None:
    senders = {"pacs": Scripted(Held.ABSENT), "archive": Scripted()}
    outbox = Outbox(results, senders, OutboxOptions())
    outbox.step("pacs")
    (letter,) = outbox.letters.open("pacs")
    assert letter.state == LetterState.WAITING
    assert "does not show it" in str(letter.error)


def test_a_file_that_was_changed_is_not_sent(results: MadeResults) -> None:
    sender = Scripted(DeliveryError("no"), Held.SAME)
    clock = Clock()
    outbox = Outbox(results, {"pacs": sender, "archive": Scripted()}, OutboxOptions(), clock=clock)
    outbox.step("pacs")
    path = results.result(job_of(results), "dicom-seg")
    path.write_bytes(path.read_bytes()[:-2] + b"\1\1")
    clock.now += 10
    outbox.step("pacs")
    assert "changed on disk" in str(outbox.letters.dead()[0].error)
    assert sender.sent == 1


def test_what_can_never_be_sent_is_told(results: MadeResults, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: MadeResults, job: str, form: str) -> Path:
        raise InputError("the scan is no DICOM")

    monkeypatch.setattr(MadeResults, "result", refuse)
    outbox = Outbox(results, {"pacs": Scripted()}, OutboxOptions())
    outbox.step("pacs")
    words = {each.destination: str(each.error) for each in outbox.letters.dead()}
    assert words["pacs"] == "the scan is no DICOM"
    assert "no destination of this name" in words["archive"]


def test_what_superseded_and_was_cancelled_supersedes_still(results: MadeResults, tmp_path: Path) -> None:
    """Of five slices, of six and of seven: the job of six was cancelled by the one of seven before it had a result."""
    letters, first = Letters(results.store), job_of(results)
    letters.collect()
    spec = JobSpec(scan="6" * 32, model="test", model_sha256="0" * 64)
    second = results.store.submit(spec, origin={"supersedes": [first]}).id
    results.store.cancel(second)
    third = written_job(results, tmp_path / "more", {"archive": ("dicom-seg",)}, supersedes=second)
    letters.collect()
    assert [each.job for each in letters.open("archive") + letters.open("pacs")] == [third]


def test_what_this_machine_refuses_waits_longer_each_time_and_never_long(
    results: MadeResults, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: MadeResults, job: str, form: str) -> Path:
        raise MachineError("labels.seg.dcm: cannot be read")

    clock, sender = Clock(), Scripted(Held.SAME)
    outbox = Outbox(results, {"pacs": sender, "archive": Scripted()}, OutboxOptions(), clock=clock)
    waits = []
    with monkeypatch.context() as patch:
        patch.setattr(MadeResults, "result", refuse)
        for _ in range(10):
            assert outbox.step("pacs")
            (letter,) = outbox.letters.open("pacs")
            waits.append(letter.next_s - clock.now)
            clock.now = letter.next_s
    assert all(0.75 * most <= wait <= most for wait, most in zip(waits, [1, 2, 4, 8, 16, *[20] * 5], strict=True))
    assert sender.sent == 0
    assert outbox.step("pacs")
    assert outbox.letters.counts()[LetterState.DELIVERED] == 1


def test_a_database_that_cannot_be_written_is_tried_less_and_less(
    results: MadeResults, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries, options = list[float](), OutboxOptions(poll_s=0.05, longest_here_s=0.4)
    outbox = Outbox(results, {"pacs": Scripted()}, options)

    def refuse(name: str) -> bool:
        tries.append(time.monotonic())
        raise MachineError("the database of jobs cannot be written")

    monkeypatch.setattr(outbox, "step", refuse)
    with outbox:
        time.sleep(1.5)
    assert 4 <= len(tries) <= 7  # after 0.1, 0.2, 0.4, 0.4 s and so on, and not after 0.05 s each


def test_a_destination_that_comes_and_goes_has_its_waiting_times_anew(results: MadeResults) -> None:
    clock = Clock()
    sender = Scripted(*[DeliveryError("away", away=True) for _ in range(12)], Held.SAME, up=False)
    outbox = Outbox(results, {"pacs": sender, "archive": Scripted()}, OutboxOptions(), clock=clock)
    while len(sender.script) > 3:
        clock.now += 30
        outbox.step("pacs")
    sender.up = True
    clock.now += 30
    assert outbox.step("pacs")
    (letter,) = outbox.letters.open("pacs")
    assert letter.next_s - clock.now <= 2  # it was back, and away again for a moment


def test_a_destination_that_is_only_busy_is_not_asked_more_often(results: MadeResults) -> None:
    clock, sender = Clock(), Scripted(DeliveryError("503", away=True), Held.SAME)
    outbox = Outbox(results, {"pacs": sender, "archive": Scripted()}, OutboxOptions(first_s=600), clock=clock)
    assert outbox.step("pacs")
    clock.now += 30
    assert not outbox.step("pacs"), "it answers, so it was not away"
    assert outbox.letters.open("pacs")[0].next_s > clock.now


def test_a_destination_that_is_back_is_not_kept_waiting(results: MadeResults) -> None:
    clock, sender = Clock(), Scripted(DeliveryError("away", away=True), Held.SAME, up=False)
    outbox = Outbox(results, {"pacs": sender, "archive": Scripted()}, OutboxOptions(first_s=3600), clock=clock)
    assert outbox.step("pacs")
    clock.now += 30
    assert not outbox.step("pacs")
    sender.up = True
    clock.now += 30
    assert outbox.step("pacs")
    assert outbox.letters.counts()[LetterState.DELIVERED] == 1
