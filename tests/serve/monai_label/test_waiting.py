"""Requests that wait: a client that goes away, a full queue, tokens; and what is searched for afterwards."""

from __future__ import annotations

import errno
import gzip
import http.client
import json
import logging
import os
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
import SimpleITK
from tests.serve.monai_label.peers import client_module
from tests.serve.monai_label.serving import serving

from unetr.queue.record import JobState
from unetr.queue.service import Service, ServiceOptions
from unetr.serve.monai_label import labels
from unetr.serve.safety.tokens import new_token

FORM = "multipart/form-data; boundary=x"


@pytest.fixture(scope="module")
def peer() -> ModuleType:
    return client_module()


def noise(path: Path, size: int) -> Path:
    """A scan of so many voxels a side, which takes some time."""
    voxels = np.random.default_rng(size).normal(100, 30, (size, size, size)).astype(np.float32)
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(voxels), str(path))
    return path


def test_a_client_that_goes_away_stops_its_job(service: Service, address: str, tmp_path: Path) -> None:
    place = urlsplit(address)
    scan = noise(tmp_path / "large.nii.gz", 160).read_bytes()
    upload = urllib.request.Request(f"{address}/api/scans", scan, {"Content-Type": "application/octet-stream"})
    with urllib.request.urlopen(upload) as answer:
        image = json.load(answer)["id"]
    connection = http.client.HTTPConnection(place.hostname or "", place.port)
    body = '--x\r\nContent-Disposition: form-data; name="params"\r\n\r\n{}\r\n--x--\r\n'
    headers = {"Content-Type": FORM}
    connection.request("POST", f"/infer/hippocampus?image={image}", body, headers)
    job = _wait_for(service, image, JobState.RUNNING)
    connection.close()
    left = time.monotonic()
    _wait_for(service, image, JobState.CANCELLED)
    assert time.monotonic() - left < 5
    assert service.store.job(job).state is JobState.CANCELLED
    lines = [json.loads(line) for line in service.folder.audit.read_text().splitlines()]
    told = [(one["action"], one.get("actor")) for one in lines if one.get("job") == job]
    assert ("submit", "local") in told and ("cancel", "local") in told


def test_an_answer_that_cannot_be_written_leaves_no_folder(
    service: Service, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(labels, "write", full)
    scan = noise(tmp_path / "scan.nii.gz", 20).read_bytes()
    part = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n' + scan + b"\r\n--x--\r\n"
    headers = {"Content-Type": FORM}
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(urllib.request.Request(f"{address}/infer/hippocampus", part, headers))
    assert refused.value.code in (503, 507)
    assert list(service.folder.incoming.iterdir()) == []


@pytest.mark.parametrize("output", ["image", "all"])
def test_whoever_leaves_in_the_middle_of_a_result_leaves_nothing(
    service: Service, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str
) -> None:
    """The file for the client goes, the job stays as it is, and counts as delivered to nobody."""
    write = labels.write

    def write_large(path: Path, *args: Any, **more: Any) -> None:
        write(path, *args, **more)
        os.truncate(path, 64_000_000)  # more than the system takes ahead

    monkeypatch.setattr(labels, "write", write_large)
    place, scan = urlsplit(address), noise(tmp_path / "scan.nii.gz", 21 if output == "all" else 22).read_bytes()
    part = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n' + scan + b"\r\n--x--\r\n"
    connection = http.client.HTTPConnection(place.hostname or "", place.port)
    connection.request("POST", f"/infer/hippocampus?output={output}", part, {"Content-Type": FORM})
    answer = connection.getresponse()
    assert (answer.status, len(answer.read(1000))) == (200, 1000)
    assert len(list(service.folder.incoming.iterdir())) == 1
    answer.close()
    connection.close()
    end = time.monotonic() + 10
    while (list(service.folder.incoming.iterdir()) or _open_below(service)) and time.monotonic() < end:
        time.sleep(0.02)
    assert list(service.folder.incoming.iterdir()) == []
    assert _open_below(service) == []
    assert service.store.jobs()[0].state is JobState.WRITTEN


def test_parts_that_are_not_there_leave_nothing(service: Service, address: str, tmp_path: Path) -> None:
    scan = noise(tmp_path / "scan.nii.gz", 23).read_bytes()
    part = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n' + scan + b"\r\n--x--\r\n"
    asked = urllib.request.Request(f"{address}/infer/hippocampus?output=json", part, {"Content-Type": FORM})
    with urllib.request.urlopen(asked) as answer:
        job = service.store.job(json.load(answer)["job"])
    label = urllib.request.Request(
        f"{address}/datastore/label?label={job.spec.scan}", headers={"Range": "bytes=999999-"}
    )
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(label)
    assert refused.value.code == 416
    assert list(service.folder.incoming.iterdir()) == []


def _open_below(service: Service) -> list[str]:
    """Files of answers that this process holds open, also those that are removed."""
    found = [str(path.readlink()) for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]
    return [path for path in found if path.startswith(str(service.folder.incoming))]


def _wait_for(service: Service, scan: str, state: JobState) -> str:
    end = time.monotonic() + 30
    while time.monotonic() < end:
        for job in service.store.jobs((state,)):
            if job.spec.scan == scan:
                return job.id
        time.sleep(0.02)
    raise AssertionError(f"no job of the scan is {state}: {[job.state for job in service.store.jobs()]}")


def test_a_full_queue_says_when_to_ask_again(tmp_path: Path) -> None:
    with Service(tmp_path / "queue", ["hippocampus"], ServiceOptions(most_waiting=0)) as full, serving(full) as address:
        scan = noise(tmp_path / "scan.nii.gz", 20).read_bytes()
        part = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n' + scan + b"\r\n--x--\r\n"
        headers = {"Content-Type": FORM}
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(urllib.request.Request(f"{address}/infer/hippocampus", part, headers))
        assert refused.value.code == 429 and int(refused.value.headers["Retry-After"]) > 0
        assert list(full.folder.incoming.iterdir()) == []


def test_a_token_is_the_password(service: Service, peer: ModuleType, tmp_path: Path) -> None:
    token = new_token(tmp_path / "tokens.json", "slicer")
    with serving(service, tokens=tmp_path / "tokens.json") as address:
        client = peer.MONAILabelClient(address, str(tmp_path))
        assert client.auth_enabled() is True
        assert client.auth_valid_token() is False
        with pytest.raises(Exception, match="401"):
            client.info()
        with pytest.raises(Exception, match="401"):
            client.auth_token("person", "guess")
        client.update_auth(client.auth_token("person", token))
        assert client.auth_valid_token() is True
        assert client.info()["models"]


def test_segments_in_another_order_are_understood(
    service: Service, peer: ModuleType, address: str, all_series: dict[str, Path], tmp_path: Path
) -> None:
    client = peer.MONAILabelClient(address, str(tmp_path))
    source = SimpleITK.ImageSeriesReader()
    source.SetFileNames(source.GetGDCMSeriesFileNames(str(all_series["flipped"])))
    SimpleITK.WriteImage(source.Execute(), str(tmp_path / "scan.nii.gz"))
    client.upload_image(str(tmp_path / "scan.nii.gz"), "scan")
    file, _ = client.infer("hippocampus", "scan", {"result_extension": ".nrrd"})
    image = SimpleITK.ReadImage(file)
    swapped = SimpleITK.ChangeLabel(image, {1: 2, 2: 1})
    SimpleITK.WriteImage(swapped, str(tmp_path / "drawn.nii.gz"))
    names: list[dict[str, Any]] = [{"name": "Posterior", "idx": 2}, {"name": "Anterior", "idx": 3}]
    saved = client.save_label("scan", str(tmp_path / "drawn.nii.gz"), params={"label_info": names})
    kept = SimpleITK.ReadImage(str(service.correction(saved["job"], saved["correction"], "labels")))
    assert np.array_equal(SimpleITK.GetArrayFromImage(kept), SimpleITK.GetArrayFromImage(image))
    with pytest.raises(Exception, match="that the model lacks"):
        client.save_label("scan", str(tmp_path / "drawn.nii.gz"), params={"label_info": [{"name": "Tumour", "idx": 1}]})


def test_no_name_is_found_anywhere(
    service: Service, peer: ModuleType, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    name = "Mustermann^Erika"
    scan = noise(tmp_path / f"{name}.nii.gz", 24)
    with caplog.at_level(logging.DEBUG), serving(service) as address:
        client = peer.MONAILabelClient(address, str(tmp_path), name)
        session = client.create_session(str(scan))["session_id"]
        client.infer("hippocampus", name, {}, session_id=session)
        client.upload_image(str(scan), name)
        with pytest.raises(Exception, match="404"):
            client.infer("hippocampus", name + "2", {})
        ours = "\n".join(one.getMessage() for one in caplog.records if one.name.startswith(("unetr", "uvicorn")))
        with (
            urllib.request.urlopen(f"{address}/metrics") as metrics,
            urllib.request.urlopen(f"{address}/logs/") as logs,
        ):
            told = metrics.read() + logs.read()
    assert name not in ours and name.encode() not in told
    for path in service.folder.path.rglob("*"):
        assert "Mustermann" not in path.name
        if path.is_file():
            content = path.read_bytes()
            assert b"Mustermann" not in (gzip.decompress(content) if path.suffix == ".gz" else content), path
