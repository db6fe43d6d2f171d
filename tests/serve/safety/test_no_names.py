"""A patient's name, and names that clients give their files, are searched for in all that a server leaves behind."""

from __future__ import annotations

import logging
import sqlite3
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
    client = whole.client
    described = facts_of(whole, {f"{MARK}-{name}": data for name, data in files.items()})
    assert described.status_code == 200
    assert not hits(described.content)
    settings = {"forms": list(FORMS)}
    asked = client.post(
        "/api/jobs", json={"scan": described.json()["id"], "model": "hippocampus", "settings": settings}
    )
    job = asked.json()["id"]
    assert whole.ended(job)["state"] in ("written", "delivered")
    for form in (*FORMS, "labels", "stats", "preview"):
        answer = client.get(f"/api/jobs/{job}/results/{form}")
        assert answer.status_code == 200
        assert hits(answer.content) == (form in FORMS)
        assert not hits(str(answer.headers).encode())
    assert client.get(f"/api/scans/{described.json()['id']}/view.nii").status_code == 200
    # What fails tells of it in words, and so might name it.
    damaged = written([*sound(files), entry(f"{MARK}.dcm", b"x" * 900, crc=1)])
    failed = facts_of(whole, {f"{MARK}.zip": damaged})
    assert failed.status_code == 422
    client.post("/api/jobs", json={"scan": MARK, "model": MARK})
    client.get(f"/{MARK}?name={MARK}", headers={"X-Patient": MARK})
    client.request(MARK.upper(), "/")
    archive = client.post("/api/scans", files={"files": (f"{MARK}.zip", damaged)}).json()
    failing = client.post("/api/jobs", json={"scan": archive["id"], "model": "hippocampus"})
    if failing.status_code < 300:
        assert whole.ended(failing.json()["id"])["state"] == "failed"
    found = [
        path.relative_to(whole.service.folder.path).as_posix()
        for path in whole.service.folder.path.rglob("*")
        if hits(path.name.encode())
    ]
    kept = [path for path in whole.service.folder.path.rglob("*") if path.is_file() and hits(path.read_bytes())]
    found += [path.name for path in kept if path.suffix not in (".dcm", ".zip")]
    found += (
        ["database"]
        if hits("\n".join(sqlite3.connect(whole.service.folder.path / "jobs.sqlite3").iterdump()).encode())
        else []
    )
    assert client.get("/metrics").status_code == 200
    found += ["metrics"] if hits(client.get("/metrics").content) else []
    found += ["list of jobs"] if hits(client.get("/api/jobs").content) else []
    theirs = ("httpx", "httpcore")  # the client's own
    ours = [record for record in caplog.records if not record.name.startswith(theirs)]
    lines = "\n".join(logging.Formatter().format(record) for record in ours)
    assert "GET /api/jobs/{job}/results/{form} 200" in lines
    found += ["log"] if hits(lines.encode()) else []
    out = capfd.readouterr()
    found += ["output"] if hits((out.out + out.err).encode()) else []
    assert found == []
    assert {path.suffix for path in kept} == {".dcm", ".zip"}  # the search finds it where it has to be
