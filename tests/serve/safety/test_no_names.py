"""A patient's name, and names that clients give their files, are searched for in all that a server leaves behind."""

from __future__ import annotations

import logging
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from benchmarks.hostile_zips import entry, sound, written
from tests.serve.running import Served
from tests.serve.safety.conftest import facts_of, series

MARK = "Zebrafink"
FORMS = ("dicom-seg", "rtstruct")


def hits(data: bytes) -> bool:
    lower = data.lower()
    return any(MARK.lower().encode(code) in lower for code in ("utf-8", "utf-16-le", "utf-16-be"))


def test_a_patients_name_is_in_dicom_objects_alone(
    whole: Served, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    voxels = np.random.default_rng(1).integers(0, 900, (36, 50, 34)).astype(np.int16)
    named = {"PatientName": f"{MARK}^Anna", "PatientID": MARK, "SeriesDescription": f"for {MARK}"}
    named |= {"StudyDescription": MARK, "AccessionNumber": MARK, "ReferringPhysicianName": MARK}
    files = series(tmp_path / "series", voxels, **named)
    assert hits(next(iter(files.values())))
    segment(whole, files)
    go_wrong(whole, files)
    kept = left_behind(whole.service.folder.path)
    # The search finds it where it has to be, and nowhere else.
    assert {path.suffix for path in kept} == {".dcm", ".zip"}
    theirs = ("httpx", "httpcore")  # the client's own
    ours = [record for record in caplog.records if not record.name.startswith(theirs)]
    lines = "\n".join(logging.Formatter().format(record) for record in ours)
    assert "GET /api/jobs/{job}/results/{form} 200" in lines
    out = capfd.readouterr()
    assert not hits((lines + out.out + out.err).encode())
    for path in ("/metrics", "/api/jobs"):
        answer = whole.client.get(path)
        assert answer.status_code == 200
        assert not hits(answer.content)


def segment(whole: Served, files: dict[str, bytes]) -> None:
    """All that a person asks for, of files that are named after the patient."""
    described = facts_of(whole, {f"{MARK}-{name}": data for name, data in files.items()})
    assert described.status_code == 200
    assert not hits(described.content)
    job = whole.submit(described.json()["id"], forms=list(FORMS))
    assert whole.ended(job)["state"] in ("written", "delivered")
    for form in (*FORMS, "labels", "stats", "preview"):
        answer = whole.client.get(f"/api/jobs/{job}/results/{form}")
        assert answer.status_code == 200
        assert hits(answer.content) == (form in FORMS)
        assert not hits(str(answer.headers).encode())
    assert whole.client.get(f"/api/scans/{described.json()['id']}/view.nii").status_code == 200


def go_wrong(whole: Served, files: dict[str, bytes]) -> None:
    """What fails is told of in words, which might name it."""
    client = whole.client
    damaged = written([*sound(files), entry(f"{MARK}.dcm", b"x" * 900, crc=1)])
    assert facts_of(whole, {f"{MARK}.zip": damaged}).status_code == 422
    client.post("/api/jobs", json={"scan": MARK, "model": MARK})
    client.get(f"/{MARK}?name={MARK}", headers={"X-Patient": MARK})
    client.request(MARK.upper(), "/")
    archive = client.post("/api/scans", files={"files": (f"{MARK}.zip", damaged)}).json()
    failing = client.post("/api/jobs", json={"scan": archive["id"], "model": "hippocampus"})
    if failing.status_code < 300:
        assert whole.ended(failing.json()["id"])["state"] == "failed"


def left_behind(folder: Path) -> list[Path]:
    """The files that the name is in; it is in no file's name, and not in the database."""
    paths = list(folder.rglob("*"))
    assert folder / "audit.jsonl" in paths
    assert [path for path in paths if hits(path.name.encode())] == []
    with closing(sqlite3.connect(folder / "jobs.sqlite3")) as database:
        assert not hits("\n".join(database.iterdump()).encode())
    return [path for path in paths if path.is_file() and hits(path.read_bytes())]
