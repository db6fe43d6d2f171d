"""What a destination may answer to STOW-RS: each answer of the standard, by a small web server in its place."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.http_server import Handler, answering
from tests.node.delivery.made import MadeResults, results_in, written_job

from unetr.io.dicom.exchange import content_digest, identity_of
from unetr.node.delivery.destination import Destination, StowService
from unetr.node.delivery.letters import LetterState
from unetr.node.delivery.outbox import Outbox, OutboxOptions
from unetr.node.delivery.sender import DeliveryError, Held
from unetr.node.delivery.senders import open_senders

REFERENCED = {"00081199": {"vr": "SQ", "Value": [{}]}}


def failed(*reasons: int) -> dict[str, Any]:
    """A FailedSOPSequence."""
    items = [{"00081197": {"vr": "US", "Value": [reason]}} for reason in reasons]
    return {"00081198": {"vr": "SQ", "Value": items}}


@contextmanager
def pacs(status: int, told: bytes, keeps: bool = True, absent: int = 404) -> Iterator[str]:
    """A DICOMweb that answers in this way to what is posted, and gives it back where it keeps it; its address.

    absent: what it answers where it is asked for what it does not have.
    """
    kept: list[bytes] = []

    class Answer(Handler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if keeps:
                kept[:] = [body.split(b"\r\n\r\n", 1)[1].rsplit(b"\r\n--", 1)[0]]
            self.say(status, "application/dicom+json", told)

        def do_GET(self) -> None:
            if not kept:
                self.say(absent, "text/plain", b"")
                return
            part = b"--B\r\nContent-Type: application/dicom\r\n\r\n" + kept[0] + b"\r\n--B--\r\n"
            self.say(200, 'multipart/related; type="application/dicom"; boundary=B', part)

        def say(self, code: int, kind: str, body: bytes) -> None:
            self.send_response(code)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with answering(Answer) as address:
        yield f"{address}/dicom-web"


def send(results: MadeResults, status: int, told: object) -> Held:
    """What is there after a file was sent, whose sending was answered in this way."""
    path = results.result(results.store.jobs()[0].id, "dicom-seg")
    with pacs(status, told if isinstance(told, bytes) else json.dumps(told).encode()) as url:
        sender = open_senders([Destination(name="pacs", stow=StowService(url=url), timeout_s=10)])["pacs"]
        sender.send(path, identity_of(path))
        return sender.held(identity_of(path), content_digest(path))


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (200, REFERENCED),
        (200, REFERENCED | {"00081198": {"vr": "SQ"}}),  # as Orthanc, which names no failure in a sequence of failures
        (200, REFERENCED | {"00081198": {"vr": "SQ", "Value": []}}),
        (202, REFERENCED),  # a warning, such as that elements were changed: reading back judges
        (200, b""),
    ],
)
def test_what_names_no_failure_is_a_yes(results: MadeResults, status: int, told: object) -> None:
    assert send(results, status, told) is Held.SAME


@pytest.mark.parametrize("status", [200, 202, 409])
@pytest.mark.parametrize(
    ("reasons", "words", "final", "away"),
    [
        ((0xA700,), "has no room for it", False, True),
        ((0x0110,), "could not store it", False, False),
        ((0x0122,), "does not accept such an object", True, False),
        ((0xA900, 0x0110), "does not accept such an object", True, False),
        ((0xC000,), "does not accept such an object", True, False),
    ],
)
def test_a_failure_that_is_named_is_one_whatever_the_status(
    results: MadeResults, status: int, reasons: tuple[int, ...], words: str, final: bool, away: bool
) -> None:
    with pytest.raises(DeliveryError, match=words) as told:
        send(results, status, failed(*reasons))
    assert (told.value.final, told.value.away) == (final, away) and f"{reasons[0]:04X}" in str(told.value)


@pytest.mark.parametrize("told", [b"", {}, {"00081198": {"vr": "SQ"}}, {"00081198": {"vr": "SQ", "Value": []}}])
def test_409_without_a_reason_is_no_yes(results: MadeResults, told: object) -> None:
    with pytest.raises(DeliveryError, match="409") as error:
        send(results, 409, told)
    assert not error.value.final


@pytest.mark.parametrize(
    "told",
    [
        b"<html>",
        b"[]",
        b"\xff",
        {"00081198": []},
        {"00081198": {"Value": 3}},
        {"00081198": {"Value": [{"00081197": {}}]}},
    ],
)
def test_what_is_no_answer_is_no_yes(results: MadeResults, told: object) -> None:
    with pytest.raises(DeliveryError):
        send(results, 200, told)


@pytest.mark.parametrize("status", [202, 409])
def test_only_what_is_there_in_the_end_is_delivered(tmp_path: Path, status: int) -> None:
    """A 409 of one that has it already, and a 202 of one that does not keep it."""
    made = results_in(tmp_path / "queue")
    written_job(made, tmp_path / "series", {"pacs": ("dicom-seg",)})
    with pacs(status, json.dumps({} if status == 409 else REFERENCED).encode(), keeps=status == 409) as url:
        senders = open_senders([Destination(name="pacs", stow=StowService(url=url), timeout_s=10)])
        outbox = Outbox(made, senders, OutboxOptions(first_s=0))
        assert outbox.step("pacs")
        (letter,) = outbox.letters.open("pacs")
        assert letter.state is LetterState.WAITING and letter.attempts == 1
        assert outbox.step("pacs")
    assert outbox.letters.counts()[LetterState.DELIVERED] == (status == 409)


@pytest.mark.parametrize("absent", [204, 400, 403, 500])
def test_a_second_try_sends_to_who_does_not_say_that_it_has_nothing(tmp_path: Path, absent: int) -> None:
    made = results_in(tmp_path / "queue")
    written_job(made, tmp_path / "series", {"pacs": ("dicom-seg",)})
    with pacs(200, b"{}", absent=absent) as url:
        senders = open_senders([Destination(name="pacs", stow=StowService(url=url), timeout_s=10)])
        outbox = Outbox(made, senders, OutboxOptions(first_s=0))
        outbox.letters.collect()
        outbox.letters.begin(outbox.letters.open("pacs")[0])  # a try that ended with its process
        assert outbox.step("pacs")
    assert outbox.letters.counts()[LetterState.DELIVERED] == 1, outbox.letters.open("pacs")
