"""Archives made to cost memory, and names made to lead elsewhere, over HTTP: refused in words."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest
from benchmarks.hostile_zips import KINDS, sound, written
from tests.serve.running import Served
from tests.serve.safety.conftest import facts_of, series

STATUS = Path("/proc/self/status")
# Its upload alone takes seconds; `benchmarks/hostile_server.py` sends it.
SLOW = {"250,000 entries"}
# Those that one check alone is for -> what it says; otherwise what the archive holds may be refused for another reason.
WORDS = {
    "claims 4 GB": "claims 4294967280 bytes",
    "begins in another": "claims bytes of another entry",
    "one body for 200 entries": "claim more compressed bytes",
    **dict.fromkeys(["above the folder", "above, further down", "absolute", "drive", "backslashes"], "unsafe name"),
    **dict.fromkeys(["network share", "escape characters", "line ends", "turned direction"], "unsafe name"),
    "twice the same": "2 times",
    "link": "is a link",
    "encrypted": "is encrypted",
    "bzip2": "method 12",
}
MEGABYTE = 10**6


@pytest.fixture(scope="module")
def slices(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return series(tmp_path_factory.mktemp("series"))


def readers_peak(whole: Served) -> int:
    """The most memory that the process which reads scans has had."""
    status = Path(f"/proc/{whole.service._reader.pid}/status").read_text()
    return 1024 * int(re.findall(r"VmHWM:\s+([0-9]+)", status)[0])


def test_there_are_42_kinds() -> None:
    assert len(KINDS) == 42


@pytest.mark.skipif(not STATUS.exists(), reason="the peaks of other processes are Linux'")
def test_all_archives_are_refused_in_words_and_the_reader_stays_small(whole: Served, slices: dict[str, bytes]) -> None:
    good = facts_of(whole, {"sound.zip": written(sound(slices))})
    assert good.json()["facts"]["shape"] == [8, 7, 4]
    before = readers_peak(whole)
    refused = {}
    for kind, make in KINDS.items():
        if kind not in SLOW:
            answer = facts_of(whole, {"a.zip": make(slices)})
            refused[kind] = (answer.status_code, answer.json()["error"]["message"])
            assert whole.client.get("/healthz").status_code == 200
    assert [kind for kind, (code, _) in refused.items() if code != 422] == []
    for kind, (_, message) in refused.items():
        assert re.search(r"\b(is|has|holds|claims|names|unpacks|no)\b", message), kind
        assert str(whole.service.folder.path) not in message
        assert "Traceback" not in message
        assert WORDS.get(kind, "") in message, (kind, message)
    assert readers_peak(whole) - before < 60 * MEGABYTE
    assert facts_of(whole, {"again.zip": written(sound(slices))}).json()["id"] == good.json()["id"]


NAMES = [
    b'filename="../../../etc/cron.d/x"',
    b'filename="/etc/passwd"',
    b'filename="C:\\\\Windows\\\\x.dll"',
    b'filename="..\\\\..\\\\x"',
    b'filename="a\\0.nii"',
    b'filename="a\0.nii"',
    b'filename="' + b"a" * 5000 + b'"',
    b'filename=""',
    b"filename*=UTF-8''..%2f..%2fx%0d%0aSet-Cookie:%20a=b",
    b"filename=\"a\"; filename*=utf-8''%2e%2e%2fx",
    b'filename="a"; filename="../b"',
    b'filename="a%0d%0aX-Evil: 1"',
    b'filename="\xff\xfe\x80"',
    b'filename="CON"',
    b'filename="a.zip;.nii"',
    b"filename=unquoted/../x",
]


@pytest.mark.parametrize("name", NAMES)
def test_no_name_of_a_client_leads_anywhere(
    whole: Served, slices: dict[str, bytes], name: bytes, tmp_path: Path
) -> None:
    """The bytes count, and the file is named here, whatever the client calls it."""
    boundary = b"b0undary"
    part = b"--" + boundary + b'\r\nContent-Disposition: form-data; name="files"; ' + name + b"\r\n\r\n"
    body = part + written(sound(slices)) + b"\r\n--" + boundary + b"--\r\n"
    kind = {"content-type": "multipart/form-data; boundary=b0undary"}
    before = {path.name for path in whole.service.folder.path.parent.iterdir()}
    answer = whole.client.post("/api/scans", content=body, headers=kind)
    assert answer.status_code in (201, 400, 422)
    assert "evil" not in str(answer.headers).lower()
    assert "set-cookie" not in answer.headers
    assert {path.name for path in whole.service.folder.path.parent.iterdir()} == before
    for path in whole.service.folder.path.rglob("*"):
        assert re.fullmatch(
            r"[0-9a-f]{32}|scans|jobs|incoming|source|scan\.zip|[0-9]{5}\.dcm|view\.nii|jobs\.sqlite3(-wal|-shm)?"
            r"|audit\.jsonl|\.unetr-lock",
            path.name,
        ), path.name
    if answer.status_code == 201:
        assert whole.client.get(f"/api/scans/{answer.json()['id']}").status_code == 200


@pytest.mark.parametrize(
    "path",
    ["/../queue/jobs.sqlite3", "/%2e%2e/jobs.sqlite3", "/api/scans/..%2f..%2fjobs", "/js/../../app.py", "/js/", "/js"],
)
def test_no_address_leads_out_of_the_page(whole: Served, path: str) -> None:
    target = httpx.URL(whole.client.base_url).copy_with(raw_path=path.encode())
    answer = whole.client.get(target)
    assert answer.status_code in (404, 422)
    assert "index" not in answer.text.lower()
