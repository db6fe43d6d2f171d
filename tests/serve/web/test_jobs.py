"""From an upload to its result: the same voxels as from Python, every event once, and jobs that are stopped."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import nibabel
import numpy as np
import pytest
from tests.serve.running import Served, nifti_scan

import unetr
from unetr.errors import NoRoomError
from unetr.queue.children import orders


@pytest.fixture(scope="module")
def job(served: Served, scan: bytes) -> str:
    found = served.submit(served.upload(scan))
    told = served.ended(found)
    assert told["state"] == "written", told
    return found


def events(served: Served, job: str, after: int | None = None) -> Iterator[tuple[int | None, str, dict[str, object]]]:
    """Number, type and data of each event of a stream, as the HTML standard says that they are read."""
    headers = {} if after is None else {"Last-Event-ID": str(after)}
    with served.client.stream("GET", f"/api/jobs/{job}/events", headers=headers) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        told: dict[str, str] = {}
        for line in answer.iter_lines():
            if line and not line.startswith(":"):
                name, _, value = line.partition(": ")
                told[name] = value
            elif told:
                yield int(told["id"]) if "id" in told else None, told["event"], json.loads(told["data"])
                told = {}


def test_the_result_is_what_python_predicts(served: Served, job: str, scan: bytes, tmp_path: Path) -> None:
    path = tmp_path / "scan.nii.gz"
    path.write_bytes(scan)
    expected = unetr.load("hippocampus").predict(path).labels
    answer = served.client.get(f"/api/jobs/{job}/results/labels")
    labels = tmp_path / "labels.nii.gz"
    labels.write_bytes(answer.content)
    found = nibabel.load(labels)
    assert np.array_equal(np.asarray(found.dataobj), expected.data[0])
    assert np.allclose(found.affine, expected.affine)
    assert answer.headers["etag"] == f'"{hashlib.sha256(answer.content).hexdigest()}"'
    assert answer.headers["content-disposition"] == f'attachment; filename="{job}.labels.nii.gz"'


def test_a_result_that_is_known_is_not_sent_again(served: Served, job: str) -> None:
    address = f"/api/jobs/{job}/results/labels"
    tag = served.client.get(address).headers["etag"]
    again = served.client.get(address, headers={"If-None-Match": f'"other", W/{tag}'})
    assert (again.status_code, again.content) == (304, b"")


def test_part_of_a_result_is_no_delivery(served: Served) -> None:
    job = served.submit(served.upload(nifti_scan(10)))
    served.ended(job)
    address = f"/api/jobs/{job}/results/labels"
    part = served.client.get(address, headers={"Range": "bytes=0-9"})
    assert (part.status_code, len(part.content)) == (206, 10)
    assert served.client.get(f"/api/jobs/{job}/results/stats").status_code == 200
    assert served.client.get(f"/api/jobs/{job}").json()["state"] == "written"
    assert served.client.get(address).content[:10] == part.content
    served.reaches(job, ("delivered",))


def test_the_view_is_the_scan_on_the_grid_of_its_labels(served: Served, job: str, tmp_path: Path) -> None:
    scan = served.client.get(f"/api/jobs/{job}").json()["scan"]
    whole = served.client.get(f"/api/scans/{scan}/view.nii").content
    part = served.client.get(f"/api/scans/{scan}/view.nii", headers={"Range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, whole[100:200])
    (tmp_path / "view.nii").write_bytes(whole)
    (tmp_path / "labels.nii.gz").write_bytes(served.client.get(f"/api/jobs/{job}/results/labels").content)
    view, labels = nibabel.load(tmp_path / "view.nii"), nibabel.load(tmp_path / "labels.nii.gz")
    assert view.shape[:3] == labels.shape
    assert np.allclose(view.affine, labels.affine)


def test_the_same_work_is_the_same_job(served: Served, job: str, scan: bytes) -> None:
    body = {"scan": served.upload(scan), "model": "hippocampus"}
    answer = served.client.post("/api/jobs", json=body)
    assert (answer.status_code, answer.json()["id"]) == (200, job)


def test_every_event_comes_once_however_often_a_client_comes_back(served: Served) -> None:
    job = served.submit(served.upload(nifti_scan(20)), tta=True)
    numbers: list[int] = []
    kinds: list[str] = []
    for _ in range(30):
        for number, kind, _ in events(served, job, numbers[-1] if numbers else None):
            kinds.append(kind)
            if number is not None:
                numbers.append(number)
                break  # the client goes away after each numbered event
        else:
            break
    assert numbers == [one.number for one in served.service.store.events(job)]
    assert kinds[-1] == "end"
    assert kinds.count("end") == 1


def test_a_client_that_comes_back_hears_what_came_after_and_of_a_foreign_number_all(served: Served) -> None:
    """A number that the job never had, as of a job that was removed since, must not keep its states from anybody."""
    scan = served.upload(nifti_scan(22, (96, 96, 96)))
    job = served.submit(scan, tta=True)
    served.reaches(job, ("running",))
    numbers = [one.number for one in served.service.store.events(job)]
    foreign = next(events(served, job, numbers[-1] + 1000))
    assert foreign[:2] == (numbers[0], "state")
    served.client.post(f"/api/jobs/{job}/cancel")
    numbers = [one.number for one in served.service.store.events(job)]
    heard = list(events(served, job, numbers[1]))
    assert [number for number, kind, _ in heard if kind == "state"] == [
        one.number for one in served.service.store.events(job, numbers[1])
    ]
    assert heard[-1][1] == "end" and heard[-1][2]["state"] == "cancelled"
    assert [kind for _, kind, _ in events(served, job, served.service.store.events(job)[-1].number)] == ["end"]


def test_a_stream_tells_all_and_ends(served: Served) -> None:
    told = list(events(served, served.submit(served.upload(nifti_scan(21)), tta=True)))
    states = [data["state"] for _, kind, data in told if kind == "state"]
    progress = [data for _, kind, data in told if kind == "progress"]
    assert states == ["received", "ready", "running", "written"]
    assert all(0 <= one["done"] <= one["of"] for one in progress)  # type: ignore[operator]
    assert [kind for _, kind, _ in told][-1] == "end"
    assert told[-1][2]["state"] == "written"


def test_a_full_queue_is_told_and_loses_nothing(served: Served) -> None:
    scans = [served.upload(nifti_scan(30 + number, (24, 24, 24))) for number in range(12)]
    answers = [
        served.client.post("/api/jobs", json={"scan": one, "model": "hippocampus", "settings": {"tta": True}})
        for one in scans
    ]
    refused = [one for one in answers if one.status_code == 429]
    assert refused
    assert all(int(one.headers["retry-after"]) > 0 for one in refused)
    kept = [one.json()["id"] for one in answers if one.status_code == 201]
    assert len(kept) + len(refused) == len(scans)
    assert {served.ended(one)["state"] for one in kept} == {"written"}


@pytest.mark.parametrize("way", [("DELETE", ""), ("POST", "/cancel")], ids=["DELETE", "POST"])
def test_a_job_is_stopped(served: Served, way: tuple[str, str]) -> None:
    scans = [served.upload(nifti_scan(50 + number + len(way[1]), (64, 64, 64))) for number in range(2)]
    jobs = [served.submit(one, tta=True) for one in scans]
    for job in reversed(jobs):
        assert served.client.request(way[0], f"/api/jobs/{job}{way[1]}").status_code == 200
    assert [served.ended(job, 30)["state"] for job in jobs] == ["cancelled", "cancelled"]
    answer = served.client.get(f"/api/jobs/{jobs[0]}/results/labels")
    assert (answer.status_code, answer.json()["error"]["kind"]) == (409, "WrongStateError")


def test_a_correction_is_kept_as_it_was_sent(served: Served, job: str) -> None:
    labels = served.client.get(f"/api/jobs/{job}/results/labels").content
    number = served.client.post(f"/api/jobs/{job}/corrections", content=labels).json()["number"]
    again = served.client.get(f"/api/jobs/{job}/corrections/{number}/labels").content
    one, other = (nibabel.Nifti1Image.from_bytes(__import__("gzip").decompress(each)) for each in (labels, again))
    assert np.array_equal(np.asarray(one.dataobj), np.asarray(other.dataobj))
    refused = served.client.post(f"/api/jobs/{job}/corrections", content=nifti_scan(1, (8, 8, 8)))
    assert refused.status_code == 422, refused.text


def test_jobs_are_listed_page_by_page(served: Served, job: str) -> None:
    found: list[str] = []
    address: str | None = "/api/jobs?limit=2"
    while address is not None:
        page = served.client.get(address).json()
        found += [one["id"] for one in page["jobs"]]
        address = page["next"]
    assert len(found) == len(set(found)) == page["total"]
    assert job in found


def test_who_waits_for_room_on_the_disk_is_told_so(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: Path) -> Path:
        raise NoRoomError("the result: cannot be written: the disk is full; free space or choose another output")

    with monkeypatch.context() as patch:
        patch.setattr(orders, "emptied", full)
        job = served.submit(served.upload(nifti_scan(11)))
        told: dict[str, object] = {}
        for _, kind, told in events(served, job):
            if kind == "state" and "reason" in told:
                break
        assert told["state"] == "ready" and str(told["reason"]).startswith("the server's disk has no room")
        waiting = served.client.get(f"/api/jobs/{job}").json()
        assert (waiting["state"], waiting["error"]["kind"], waiting["attempts"]) == ("ready", "NoRoomError", 0)
        ready = served.client.get("/readyz")
        assert (ready.status_code, "no room" in ready.json()["reason"]) == (503, True)
        assert "unetr_disk_short 1\n" in served.client.get("/metrics").text
        answer = served.client.post(f"/infer/hippocampus?image={waiting['scan']}", files={"params": (None, "{}")})
        assert (answer.status_code, answer.json()["error"]["kind"]) == (507, "NoRoomError"), "and it goes on"
    done = served.ended(job)
    assert (done["state"], done["error"], done["attempts"]) == ("written", None, 1)
