"""Uploads over a real connection: what arrives is what lies on disk, and what is refused leaves nothing."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.power_cut import Disk
from tests.serve.running import Served, nifti_scan


@pytest.fixture(autouse=True)
def nothing_is_left(served: Served) -> Iterator[None]:
    yield
    deadline = time.monotonic() + 5
    while list(served.incoming.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert list(served.incoming.iterdir()) == []


def refusal(answer: httpx.Response) -> tuple[int, str]:
    told = answer.json()["error"]
    assert set(told) == {"kind", "message", "hint"}
    assert "Traceback" not in answer.text
    return answer.status_code, told["kind"]


def digests(folder: Path) -> list[str]:
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())]


def test_what_was_answered_outlasts_a_power_cut(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(monkeypatch)
    scan = served.upload(nifti_scan(70))
    (file,) = served.service.folder.source(scan).iterdir()
    assert disk.has_under_its_name(file, served.service.folder.path / "scans")


def test_bytes_arrive_as_they_were_sent(served: Served, scan: bytes) -> None:
    """As a part of a form, whole, in pieces without a length: one scan, however it was sent and whatever its name."""
    ways = (
        {"files": {"files": ("../../Müller^Anna.nii", scan)}},
        {"content": scan, "headers": {"Content-Type": "application/octet-stream"}},
        {"content": (scan[start : start + 1000] for start in range(0, len(scan), 1000))},
    )
    answers = [served.client.post("/api/scans", **way) for way in ways]  # type: ignore[arg-type]
    assert [answer.status_code for answer in answers] == [201, 201, 201]
    (told,) = {answer.json()["id"] for answer in answers}
    source = served.service.folder.source(told)
    assert digests(source) == [hashlib.sha256(scan).hexdigest()]
    assert answers[0].json()["bytes"] == len(scan)
    assert not [path for path in served.service.folder.path.rglob("*") if "ller" in str(path)]


def test_a_boundary_that_nearly_comes(served: Served) -> None:
    """Bytes that begin as the boundary does stay part of the file, wherever a piece ends."""
    near = b"\r\n--edge\r\n--edg" * 50_000
    body = b'--edgy\r\nContent-Disposition: form-data; name="a"; filename="b"\r\n\r\n' + near + b"\r\n--edgy--\r\n"
    headers = {"Content-Type": "multipart/form-data; boundary=edgy"}
    answer = served.client.post("/api/scans", content=body, headers=headers)
    if answer.status_code == 201:  # where what is no scan is refused only when it is read
        assert digests(served.service.folder.source(answer.json()["id"])) == [hashlib.sha256(near).hexdigest()]
    assert answer.status_code in (201, 422)


@pytest.mark.parametrize("told", [True, False], ids=["length told", "in pieces"])
def test_too_much_is_refused_before_it_is_on_disk(served: Served, told: bool) -> None:
    pieces = (b"x" * 100_000 for _ in range(400))
    content = b"x" * 40_000_000 if told else pieces
    most = 0

    def watched() -> Iterator[bytes]:
        nonlocal most
        for piece in pieces:
            yield piece
            with suppress(OSError):  # it is removed meanwhile
                most = max(most, sum(path.stat().st_size for path in served.incoming.rglob("*")))

    answer = served.client.post("/api/scans", content=content if told else watched())
    assert refusal(answer) == (413, "TooLargeError")
    assert most <= 2_000_000 + 1_000_000


def test_many_files_are_refused(served: Served) -> None:
    files = [("files", (f"{number}", b"x")) for number in range(4)]
    assert refusal(served.client.post("/api/scans", files=files)) == (413, "TooLargeError")


FORM = {"Content-Type": "multipart/form-data; boundary=edge"}


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({}, b""),
        ({"Content-Type": "multipart/form-data"}, b"--edge--"),
        ({"Content-Type": "multipart/form-data; boundary=" + "e" * 71}, b"--edge--"),
        (FORM, b"nothing of the kind"),
        (FORM, b'--edge\r\nContent-Disposition: form-data; name="f"; filename="x"\r\n\r\nhalf a scan'),
        (FORM, b'--edge\r\nContent-Disposition: form-data; name="f"\r\n\r\ntext\r\n--edge--\r\n'),
        (FORM, b'--edge\r\nContent-Disposition: form-data; filename="x"\r\n\r\n\r\n--edge--\r\n'),
        (FORM, b"--edge\r\nX-Long: " + b"a" * 20_000 + b"\r\n\r\nx\r\n--edge--\r\n"),
        (FORM, b"--edge\r\n" + b"X: 1\r\n" * 5000 + b"\r\nx\r\n--edge--\r\n"),
    ],
    ids=["empty", "no boundary", "long", "no form", "half", "field", "empty file", "header", "headers"],
)
def test_what_is_no_upload_is_refused(served: Served, headers: dict[str, str], body: bytes) -> None:
    assert refusal(served.client.post("/api/scans", content=body, headers=headers)) == (400, "RefusedError")


def test_whoever_goes_away_leaves_nothing(served: Served) -> None:
    address = (served.client.base_url.host, served.client.base_url.port)
    head = b"POST /api/scans HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1900000\r\n\r\n"
    with socket.create_connection(address) as connection:  # type: ignore[arg-type]
        connection.sendall(head + b"a" * 1_000_000)
        deadline = time.monotonic() + 5
        while not list(served.incoming.rglob("*.part")) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert list(served.incoming.rglob("*.part"))


def test_the_disk_waits_for_nobody_and_nobody_for_the_disk(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Heads whose bodies do not come make no file and take no thread; and files are not made where all would wait."""
    made: list[str] = []
    new_incoming, open_ = served.service.new_incoming, os.open

    def noting(path: str | Path, *args: int, **more: Any) -> int:
        if str(path).endswith(".part"):
            made.append(threading.current_thread().name)
        return open_(path, *args, **more)

    def noting_folder() -> Path:
        made.append(threading.current_thread().name)
        return new_incoming()

    monkeypatch.setattr(os, "open", noting)
    monkeypatch.setattr(served.service, "new_incoming", noting_folder)
    address = (served.client.base_url.host, served.client.base_url.port)
    head = b"POST /api/scans HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 5\r\n\r\n"
    with socket.create_connection(address) as connection:  # type: ignore[arg-type]
        connection.sendall(head)
        for _ in range(20):
            assert served.client.get("/healthz").status_code == 200
        assert made == []
        connection.sendall(b"scan?")
        connection.settimeout(10)
        assert connection.recv(65536).startswith(b"HTTP/1.1 422 ")
    assert len(made) == 2
    assert all(name.startswith("AnyIO worker") for name in made)


@pytest.mark.parametrize("told", [True, False], ids=["length told", "in pieces"])
def test_a_full_disk_is_told(served: Served, monkeypatch: pytest.MonkeyPatch, told: bool) -> None:
    usage = shutil.disk_usage(served.incoming)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage._replace(free=1000))
    content = b"x" * 100_000
    answer = served.client.post("/api/scans", content=content if told else iter([content]))
    assert refusal(answer) == (507, "NoRoomError")


def test_a_write_that_is_refused_is_told(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert refusal(served.client.post("/api/scans", content=b"x" * 100_000)) == (507, "NoRoomError")


def test_a_form_without_files_is_no_scan(served: Served) -> None:
    answer = served.client.post("/api/scans", content=b"--edge--\r\n", headers=FORM)
    assert refusal(answer) == (422, "InputError")
