"""HTTP as its standards have it, byte by byte: HEAD, ranges, several requests at once, bodies of all shapes."""

from __future__ import annotations

import email
import email.policy
import http.client
import io
import socket

import pytest
from tests.serve.running import Served, nifti_scan
from tests.serve.safety.listening import answer

from unetr.queue.record import JobState

FORM = {"Content-Type": "multipart/form-data; boundary=edge"}


@pytest.fixture(scope="module")
def job(served: Served) -> str:
    found = served.submit(served.upload(nifti_scan(80)))
    assert served.ended(found)["state"] == "written"
    return found


def answers(served: Served, *pieces: bytes, methods: str = "GET") -> list[tuple[int, bytes]]:
    """Status and body of each answer on one connection, read by the standard library. methods: of the requests."""
    with socket.create_connection((served.client.base_url.host, served.client.base_url.port or 80)) as connection:
        for piece in pieces:
            connection.sendall(piece)
        stream = io.BytesIO(answer(connection))
    found = []
    for method in methods.split():
        told = http.client.HTTPResponse(_Taken(stream), method=method)  # type: ignore[arg-type]
        told.begin()
        found.append((told.status, told.read()))
    assert stream.read() == b""
    return found


class _Taken:
    """A connection whose bytes have all come."""

    def __init__(self, stream: io.BytesIO) -> None:
        self._stream = stream

    def makefile(self, _mode: str) -> io.BytesIO:
        return _Open(self._stream)


class _Open(io.BytesIO):
    """Reads from a shared stream, and leaves it open for the next answer."""

    def __init__(self, stream: io.BytesIO) -> None:
        super().__init__()
        self.read, self.readline, self.readinto = stream.read, stream.readline, stream.readinto  # type: ignore[method-assign]


def head(method: str, path: str, *lines: str) -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: localhost", *lines, "", ""]).encode()


def test_head_is_get_without_its_body(served: Served, job: str) -> None:
    scan = served.client.get(f"/api/jobs/{job}").json()["scan"]
    log = served.service.folder.audit
    before = log.read_bytes()
    for path in (
        "/",
        "/healthz",
        "/readyz",
        "/api/models",
        f"/api/jobs/{job}",
        f"/api/jobs/{job}/results/labels",
        f"/api/scans/{scan}/view.nii",
        "/openapi.json",
        "/nothing",
        f"/api/jobs/{'0' * 32}",
    ):
        asked = served.client.head(path)
        assert asked.content == b""
        if path.endswith("labels"):
            assert log.read_bytes() == before, "nobody has downloaded anything"
        given = served.client.get(path)
        assert asked.status_code == given.status_code, path
        for name in ("content-length", "content-type", "etag"):
            assert asked.headers.get(name) == given.headers.get(name), (path, name)
    assert served.client.head(f"/api/jobs/{job}/events").headers["content-type"].startswith("text/event-stream")


def test_head_is_no_delivery(served: Served) -> None:
    job = served.submit(served.upload(nifti_scan(81)))
    served.ended(job)
    assert served.client.head(f"/api/jobs/{job}/results/labels").status_code == 200
    assert served.service.store.job(job).state is JobState.WRITTEN


@pytest.mark.parametrize(
    ("told", "status", "first", "last"),
    [
        ("bytes=0-9", 206, 0, 9),
        ("bytes=-7", 206, -7, -1),
        ("bytes=5-", 206, 5, -1),
        ("bytes=5-99999999", 206, 5, -1),
        ("bytes=-99999999", 206, 0, -1),
        ("BYTES = 2-4", 206, 2, 4),
        ("bytes=99999999-", 416, 0, 0),
        ("bytes=-0", 416, 0, 0),
        ("bytes=9-2", 200, 0, -1),
        ("bytes=a-b", 200, 0, -1),
        ("bytes=-", 200, 0, -1),
        ("bytes=", 200, 0, -1),
        ("items=0-9", 200, 0, -1),
        ("nonsense", 200, 0, -1),
        ("bytes=99999999-, 2-4", 206, 2, 4),
        ("bytes=" + ",".join(f"{at}-{at}" for at in range(0, 80, 2)), 200, 0, -1),
    ],
)
def test_a_range_is_what_the_standard_says(
    served: Served, job: str, told: str, status: int, first: int, last: int
) -> None:
    path = f"/api/jobs/{job}/results/labels"
    whole = served.client.get(path).content
    found = served.client.get(path, headers={"Range": told})
    assert found.status_code == status
    if status == 416:
        assert found.headers["content-range"] == f"bytes */{len(whole)}"
        assert set(found.json()["error"]) == {"kind", "message", "hint"}
        return
    first, last = first % len(whole), last % len(whole)
    assert found.content == whole[first : last + 1]
    if status == 206:
        assert found.headers["content-range"] == f"bytes {first}-{last}/{len(whole)}"


def test_several_ranges_are_parts_of_one_answer(served: Served, job: str) -> None:
    path = f"/api/jobs/{job}/results/labels"
    whole = served.client.get(path).content
    found = served.client.get(path, headers={"Range": "bytes=0-9, 40-49, -5"})
    assert found.status_code == 206
    assert int(found.headers["content-length"]) == len(found.content)
    text = b"Content-Type: " + found.headers["content-type"].encode() + b"\r\n\r\n" + found.content
    parts = [
        part for part in email.message_from_bytes(text, policy=email.policy.HTTP).walk() if not part.is_multipart()
    ]
    size = len(whole)
    assert [part["content-range"] for part in parts] == [
        f"bytes {first}-{last}/{size}" for first, last in ((0, 9), (40, 49), (size - 5, size - 1))
    ]
    for piece in (whole[:10], whole[40:50], whole[-5:]):
        assert b"\r\n\r\n" + piece + b"\r\n--" in found.content


def test_a_part_counts_only_of_the_same_file(served: Served, job: str) -> None:
    path = f"/api/jobs/{job}/results/labels"
    tag = served.client.get(path).headers["etag"]
    part = {"Range": "bytes=0-9"}
    assert served.client.get(path, headers={**part, "If-Range": tag}).status_code == 206
    assert served.client.get(path, headers={**part, "If-Range": '"other"'}).status_code == 200
    assert served.client.get(path, headers={**part, "If-Range": f"W/{tag}"}).status_code == 200
    assert served.client.get(path, headers={**part, "If-None-Match": tag}).status_code == 304
    assert served.client.get(path, headers={"If-None-Match": "*"}).status_code == 304
    assert served.client.get(path, headers={"If-None-Match": '"other",, x'}).status_code == 200


def test_requests_that_come_at_once_are_answered_in_their_order(served: Served, job: str, scan: bytes) -> None:
    upload = head("POST", "/api/scans", f"Content-Length: {len(scan)}") + scan
    asked = head("GET", "/healthz"), upload, head("HEAD", f"/api/jobs/{job}"), head("GET", f"/api/jobs/{job}")
    last = head("GET", "/nothing", "Connection: close")
    found = answers(served, b"".join(asked) + last, methods="GET POST HEAD GET GET")
    assert [status for status, _ in found] == [200, 201, 200, 200, 404]
    assert found[2][1] == b""
    assert job.encode() in found[3][1]


def test_who_waits_to_be_told_to_go_on_is_told(served: Served, scan: bytes) -> None:
    lines = "Expect: 100-continue", f"Content-Length: {len(scan)}", "Connection: close"
    with socket.create_connection((served.client.base_url.host, served.client.base_url.port or 80), 5) as connection:
        connection.sendall(head("POST", "/api/scans", *lines))
        assert connection.recv(100).startswith(b"HTTP/1.1 100")
        connection.sendall(scan)
        assert answer(connection).startswith(b"HTTP/1.1 201")
    lines = "Expect: 100-continue", "Content-Length: 900000000"
    ((status, _),) = answers(served, head("POST", "/api/scans", *lines), methods="POST")
    assert status == 413, "refused before a byte of it is sent"


def test_chunks_may_end_with_further_headers(served: Served, scan: bytes) -> None:
    lines = "Transfer-Encoding: chunked", "Trailer: X-Checked", "Connection: close"
    half = len(scan) // 2
    chunks = [b"%x;name=value\r\n%s\r\n" % (len(piece), piece) for piece in (scan[:half], scan[half:])]
    end = b"0\r\nX-Checked: yes\r\nContent-Length: 3\r\n\r\n"
    ((status, body),) = answers(served, head("POST", "/api/scans", *lines), *chunks, end, methods="POST")
    assert status == 201
    assert served.upload(scan).encode() in body


PART = b'--edge\r\nContent-Disposition: form-data; name="files"; filename="x"\r\n\r\n'


@pytest.mark.parametrize(
    ("before", "after", "status"),
    [
        (b"", b"", 201),
        (b"\r\n", b"\r\n", 201),
        (b"", b"\r\nwords after the end\r\n--edge\r\n", 201),
        (b"words before the start\r\n", b"", 400),
        (b'--edge\r\nContent-Disposition: form-data; name="note"\r\n\r\nwords\r\n', b"", 400),
        (b"--edge\r\nContent-Type: text/plain\r\n\r\nwords\r\n", b"", 400),
        (b"--edge\r\n\r\nwords\r\n", b"", 400),
    ],
    ids=["plain", "empty lines", "epilogue", "preamble", "field", "no disposition", "no header"],
)
def test_a_form_is_understood_or_refused(served: Served, scan: bytes, before: bytes, after: bytes, status: int) -> None:
    body = before + PART + scan + b"\r\n--edge--" + after
    found = served.client.post("/api/scans", content=body, headers=FORM)
    assert found.status_code == status, found.text
    if status == 201:
        assert found.json()["id"] == served.upload(scan)


def test_a_form_in_a_form_is_no_scan(served: Served, scan: bytes) -> None:
    """Old browsers sent several files like this. It is refused, and never taken for a scan."""
    inner = b"--in\r\nContent-Disposition: file; filename=a\r\n\r\n" + scan + b"\r\n--in--"
    part = PART.replace(b"\r\n\r\n", b"\r\nContent-Type: multipart/mixed; boundary=in\r\n\r\n")
    found = served.client.post("/api/scans", content=part + inner + b"\r\n--edge--\r\n", headers=FORM)
    assert found.status_code == 422
    base64 = PART.replace(b"\r\n\r\n", b"\r\nContent-Transfer-Encoding: base64\r\n\r\n")
    found = served.client.post("/api/scans", content=base64 + b"H4sIAAAA\r\n--edge--\r\n", headers=FORM)
    assert found.status_code == 422


def test_what_comes_after_the_end_of_a_form_counts(served: Served, scan: bytes) -> None:
    """It lies on no disk, but nobody reads it for ever."""

    def endless() -> object:
        yield PART + scan + b"\r\n--edge--\r\n"
        for _ in range(400):
            yield b"a" * 100_000

    found = served.client.post("/api/scans", content=endless(), headers=FORM)  # type: ignore[arg-type]
    assert found.status_code == 413


@pytest.mark.parametrize("path", ["/api/jobs/", "/healthz/", "/api%2fjobs/", "/%61pi/models/", "/%ff%fe", "/%00"])
def test_an_address_is_right_or_not_there(served: Served, path: str) -> None:
    ((status, body),) = answers(served, head("GET", path, "Connection: close"))
    assert status == 404, body
    ((status, body),) = answers(served, head("GET", "/%61pi/mo%64els", "Connection: close"))
    assert (status, b"hippocampus" in body) == (200, True)
