"""The routes over a service without an engine."""

from __future__ import annotations

from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from tests.serve.fake import FakeService

from unetr.serve.app import create_app
from unetr.serve.options import ServeOptions


@pytest.fixture
def service(tmp_path: Path) -> FakeService:
    return FakeService(tmp_path)


@pytest.fixture
def client(service: FakeService) -> TestClient:
    return TestClient(create_app(service, ServeOptions(most_upload_bytes=1_000_000)), raise_server_exceptions=False)


def test_a_job_from_upload_to_result(client: TestClient, service: FakeService) -> None:
    scan = client.post("/api/scans", files={"files": ("a.nii", b"scan")}).json()["id"]
    assert client.get(f"/api/scans/{scan}").json()["facts"]["shape"] == [4, 4, 4]
    asked = client.post("/api/jobs", json={"scan": scan, "model": "fake"})
    job = asked.json()["id"]
    assert asked.status_code == 201
    assert client.post("/api/jobs", json={"scan": scan, "model": "fake"}).status_code == 200
    service.finish(job, b"the labels")
    assert client.get(f"/api/jobs/{job}/results/labels").content == b"the labels"
    assert client.get(f"/api/jobs/{job}").json()["state"] == "delivered"


def test_what_is_refused_leaves_nothing(client: TestClient, service: FakeService) -> None:
    pieces = (b"x" * 100_000 for _ in range(20))
    assert client.post("/api/scans", content=pieces).status_code == 413
    assert list(service.folder.incoming.iterdir()) == []
