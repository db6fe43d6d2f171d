"""What is removed and when, a disk that is full, and the limits of a queue."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from tests.queue.conftest import MODEL, SCAN, ended, kept, until

from unetr.errors import InputError, MachineError, NoRoomError, UnetrError
from unetr.queue.files.audit import Audit
from unetr.queue.files.removal import remove_unknown
from unetr.queue.record import JobRecord, JobState, Settings
from unetr.queue.service import QueueFullError, Service, ServiceOptions


def left(service: Service) -> list[Path]:
    """Files of scans and jobs."""
    path = service.folder.path
    return [file for room in ("scans", "jobs", "incoming") for file in (path / room).rglob("*")]


def test_after_its_time_no_file_is_left(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[str] = []
    options = service.options
    monkeypatch.setattr(service, "_held", lambda job: job.id in held)
    scan = kept(service, [SCAN])
    service.view(scan.id)
    job = ended(service, service.submit(scan.id, MODEL))
    service.remove_old()
    assert service.result(job.id, "labels").exists(), "its time has not come"
    monkeypatch.setattr(service, "options", replace(options, retention_s=0.0))
    held.append(job.id)
    service.remove_old()
    assert service.result(job.id, "labels").exists(), "a delivery needs it"
    held.clear()
    service.remove_old()
    for gone in (service.store.job, lambda _: service.store.scan(scan.id)):
        with pytest.raises(InputError, match="no such"):
            gone(job.id)
    monkeypatch.setattr(service, "options", options)
    service.new_incoming()
    late = service.folder.view("f" * 32)
    late.parent.mkdir()
    late.touch()
    service.remove_old()
    assert left(service) != [] and not late.parent.exists(), "nobody knows the scan any more that it is a view of"
    remove_unknown(service.folder, service.store)
    assert left(service) == [], "what was never acknowledged is removed at the start"
    with pytest.raises(InputError, match="another process"), Service(service.folder.path, [MODEL]):
        pass
    states = [json.loads(line)["outcome"] for line in service.folder.audit.read_text().splitlines()]
    assert "written" in states


def test_a_queue_is_bounded(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "options", ServiceOptions(most_waiting=0))
    with pytest.raises(QueueFullError, match="try again later"):
        service.submit(kept(service, [SCAN]).id, MODEL)


def test_unknown_things_are_refused(service: Service) -> None:
    scan = kept(service, [SCAN])
    with pytest.raises(InputError, match="model none: is not offered; expected one of hippocampus"):
        service.submit(scan.id, "none")
    with pytest.raises(InputError, match="no such scan"):
        service.submit("0" * 32, MODEL)
    for path in ("../x", "0" * 31, "A" * 32):
        with pytest.raises(InputError, match="no such id"):
            service.folder.scan(path)


def test_a_database_that_cannot_be_written_now_is_tried_again(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan = kept(service, [SCAN])
    service.describe(scan.id)
    claim, refused = service.store.claim, threading.Event()

    def once(*args: object, **told: object) -> JobRecord | None:
        if refused.is_set():
            return claim(*args, **told)  # type: ignore[arg-type]
        refused.set()
        raise MachineError("the database of jobs cannot be written: disk I/O error; free space")

    monkeypatch.setattr(service.store, "claim", once)
    for number in range(3):  # a claim that has begun already takes the first
        job = ended(service, service.submit(scan.id, MODEL, Settings(strict=True, forms=("nifti",) * number)))
        assert job.state == JobState.WRITTEN
        service.store.forget(job.id)
    assert refused.is_set() and service.health().last_error == "MachineError"


def test_threads_share_a_service(service: Service) -> None:
    errors: list[BaseException] = []
    ids: set[str] = set()

    def work() -> None:
        try:
            scan = kept(service, [SCAN])
            job = service.submit(scan.id, MODEL, Settings(uncertainty=True))
            ids.add(ended(service, job).id)
            service.result(job.id, "stats")
            service.health()
        except BaseException as error:  # noqa: BLE001  told in the test's thread
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == [] and len(ids) == 1


def test_waiting_takes_no_processor(service: Service) -> None:
    scan = kept(service, [SCAN])
    job = ended(service, service.submit(scan.id, MODEL))
    before = sum(os.times()[:2])
    seen = service.wait(job.id, 0, 0.1)
    assert service.wait(job.id, seen, 1.0) == seen
    assert sum(os.times()[:2]) - before < 0.3


def test_the_log_of_actions_names_who_asks_now(service: Service) -> None:
    scan, before = kept(service, [SCAN]), service.folder.audit.stat().st_size
    settings = Settings(strict=True, tta=True)
    job = ended(service, service.submit(scan.id, MODEL, settings, {"actor": "ward"}))
    service.submit(scan.id, MODEL, settings, {"actor": "office"})
    service.cancel(job.id, "night shift")
    labels = service.new_incoming() / "labels"
    labels.write_bytes(service.result(job.id, "labels").read_bytes())
    service.correct(job.id, labels, actor="reader 2")
    lines = service.folder.audit.read_bytes()[before:].splitlines()
    told = [(one["action"], one.get("actor")) for one in map(json.loads, lines) if one.get("job") == job.id]
    asked = [("submit", "ward"), ("submit", "office"), ("cancel", "night shift"), ("correct", "reader 2")]
    assert sorted(told, key=str) == sorted([*asked, ("run", None)], key=str)
    wrong = service.new_incoming() / "labels"
    wrong.write_bytes(SCAN.read_bytes())
    with pytest.raises(InputError):
        service.correct(job.id, wrong)
    assert not wrong.parent.exists(), "what is refused is taken away as well"


def test_the_log_of_actions_is_set_aside_when_it_has_grown(tmp_path: Path) -> None:
    audit = Audit(tmp_path / "audit.jsonl", most_bytes=500)
    for number in range(21):
        audit.note("submit", job=f"{number:032}", outcome="ready")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["audit.jsonl", "audit.jsonl.1"]
    assert all(path.stat().st_size < 700 for path in tmp_path.iterdir())
    with pytest.raises(UnetrError, match=r"audit\.jsonl: cannot be written"):
        Audit(tmp_path / "none" / "audit.jsonl").note("submit")


def test_a_line_of_the_log_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    audit, write = Audit(tmp_path / "audit.jsonl"), os.write
    audit.note("submit")
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda handle, data: write(handle, data[:10]))  # as on a disk that fills up
        with pytest.raises(NoRoomError, match="the disk is full"):
            audit.note("run")
    audit.note("cancel")
    lines = (tmp_path / "audit.jsonl").read_text().splitlines()
    assert [json.loads(line)["action"] for line in lines] == ["submit", "cancel"]


def test_a_database_is_what_it_says(service: Service) -> None:
    with sqlite3.connect(service.folder.database) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    until(lambda: service.health().waiting == 0)
