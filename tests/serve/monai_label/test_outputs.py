"""What `/infer` answers besides an image, what numbers in label files mean, and how long a series is known."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import httpx
import numpy as np
import pydicom
import pytest
import SimpleITK

import unetr
from unetr.queue.record import JobState
from unetr.queue.service import Service
from unetr.serve.monai_label import labels

SCAN = Path(str(files("unetr.jobs.demo") / "scan" / "scan.nii.gz"))


@pytest.fixture(scope="module")
def client(address: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=address, timeout=60) as made:
        yield made


def zipped(series: Path) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        for path in sorted(series.iterdir()):
            archive.write(path, path.name)
    return held.getvalue()


@pytest.fixture(scope="module")
def image(client: httpx.Client, all_series: dict[str, Path]) -> str:
    """The scan's id, of the series whose slices are numbered from the other end."""
    sent = client.put("/datastore/", files={"file": ("x.zip", zipped(all_series["reversed"]))})
    return str(sent.json()["image"])


@pytest.fixture(scope="module")
def expected(all_series: dict[str, Path]) -> np.ndarray:
    """Labels [X, Y, Z], as Python predicts them."""
    return np.asarray(unetr.load("hippocampus").predict(all_series["reversed"]).labels.data[0])


def asked(client: httpx.Client, image: str, output: str) -> httpx.Response:
    answer = client.post(
        "/infer/hippocampus", params={"image": image, "output": output}, files={"params": (None, "{}")}
    )
    assert answer.status_code == 200, answer.text
    return answer


def test_json_tells_the_result_without_an_image(client: httpx.Client, image: str, expected: np.ndarray) -> None:
    answer = asked(client, image, "json")
    assert answer.headers["content-type"] == "application/json"
    told = answer.json()
    assert told["label_names"] == {"Anterior": 1, "Posterior": 2}
    voxel_ml = np.prod(client.get(f"/api/scans/{image}").json()["facts"]["spacing_mm"]) / 1000
    for name, number in told["label_names"].items():
        assert told["volumes_ml"][name] == pytest.approx(np.count_nonzero(expected == number) * voxel_ml, rel=1e-3)
    assert told["verdict"]["state"] in ("ok", "warned", "unknown")


def test_where_a_label_does_not_occur_slicers_numbers_have_no_gap(client: httpx.Client, tmp_path: Path) -> None:
    """Of the part furthest back, where the model finds Posterior (2) alone: Slicer's first segment, OHIF's second."""
    scan = unetr.read_volume(SCAN)
    unetr.write_volume(tmp_path / "back.nii.gz", scan.with_data(scan.data[:, :, :10]))
    with (tmp_path / "back.nii.gz").open("rb") as file:
        image = str(client.put("/datastore/", files={"file": ("back.nii.gz", file)}).json()["image"])

    def values(answer: httpx.Response) -> list[int]:
        (tmp_path / "got.nii.gz").write_bytes(answer.content)
        return sorted(set(SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(tmp_path / "got.nii.gz")).ravel().tolist()))

    assert asked(client, image, "json").json()["label_names"] == {"Posterior": 1}
    assert values(asked(client, image, "image")) == [0, 1]
    params = {"label": image, "tag": "original"}
    assert values(client.get("/datastore/label", params=params)) == [0, 1]
    offered = {"params": (None, '{"restore_label_idx": false}')}
    of_ohif = client.post("/infer/hippocampus", params={"image": image, "output": "image"}, files=offered)
    assert values(of_ohif) == [0, 2]


def test_dicom_seg_has_each_voxel_in_its_place(
    client: httpx.Client, service: Service, image: str, all_series: dict[str, Path], expected: np.ndarray
) -> None:
    """Read with pydicom alone: each frame by the place that it names, compared with the slice at that place."""
    answer = asked(client, image, "dicom_seg")
    assert answer.headers["content-type"] == "application/dicom"
    seg = pydicom.dcmread(io.BytesIO(answer.content))
    assert seg.Modality == "SEG"
    names = {int(one.SegmentNumber): str(one.SegmentLabel) for one in seg.SegmentSequence}
    values = {number: {"Anterior": 1, "Posterior": 2}[name] for number, name in names.items()}
    slices = {}
    for path in all_series["reversed"].iterdir():
        one = pydicom.dcmread(path, stop_before_pixels=True)
        slices[str(one.SOPInstanceUID)] = one
    frames, found = np.atleast_3d(seg.pixel_array), 0
    affine = unetr.load("hippocampus").predict(all_series["reversed"]).labels.affine
    for frame, told in zip(frames, seg.PerFrameFunctionalGroupsSequence, strict=True):
        place = np.array(told.PlanePositionSequence[0].ImagePositionPatient, float)
        value = values[int(told.SegmentIdentificationSequence[0].ReferencedSegmentNumber)]
        source = told.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        assert np.allclose(slices[str(source)].ImagePositionPatient, place, atol=1e-3)
        right, down = np.array(slices[str(source)].ImageOrientationPatient, float).reshape(2, 3)
        rows, columns = (float(each) for each in slices[str(source)].PixelSpacing)
        y, x = np.nonzero(frame)
        points = place + x[:, None] * columns * right + y[:, None] * rows * down
        to_index = np.linalg.inv(affine) @ np.diag([-1, -1, 1, 1])
        index = np.rint(points @ to_index[:3, :3].T + to_index[:3, 3]).astype(int)
        assert np.all(expected[tuple(index.T)] == value)
        found += len(index)
    assert found == np.count_nonzero(expected) > 1000
    job = next(one for one in service.store.jobs() if one.spec.scan == image)
    assert job.state is JobState.DELIVERED


def test_the_numbers_of_a_label_are_told(client: httpx.Client, image: str) -> None:
    asked(client, image, "json")
    told = client.get("/datastore/label/info", params={"label": image}).json()
    assert told["params"] == {"label_names": {"Anterior": 1, "Posterior": 2}}
    assert (told["model"], told["ts"] > 1e9) == ("hippocampus", True)
    assert client.get("/datastore/label/info", params={"label": image, "tag": "final"}).status_code == 404
    assert client.get("/datastore/label/info", params={"label": "nobody"}).status_code == 404


def test_numbers_that_could_mean_two_things_are_asked_about(
    client: httpx.Client, service: Service, image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where only the second label occurs, clients have got it as 1, which is the first one's value."""
    asked(client, image, "json")
    job = next(one for one in service.store.jobs() if one.spec.scan == image)
    label = SimpleITK.ReadImage(str(service.result(job.id, "labels")))

    def save(params: str, number: int = 2) -> httpx.Response:
        """The second label alone, as this number."""
        only = SimpleITK.Cast(SimpleITK.BinaryThreshold(label, 2, 2, number, 0), SimpleITK.sitkUInt8)
        SimpleITK.WriteImage(only, str(tmp_path / "only.nii.gz"))
        files = {"label": ("x.nii.gz", (tmp_path / "only.nii.gz").read_bytes()), "params": (None, params)}
        return client.put("/datastore/label", params={"label": image, "image": image}, files=files)

    assert save("{}").status_code == 200, "all labels occur in the result, so that its numbers are values"
    told = client.get("/datastore/label/info", params={"label": image, "tag": "final"}).json()
    assert told["params"] == {"label_names": {"Posterior": 1}}
    monkeypatch.setattr(labels, "names_in", lambda *_: {"Posterior": 1})
    refused = save("{}", 1)
    assert (refused.status_code, "in doubt" in refused.text) == (422, True)
    named = save('{"label_info": [{"name": "Posterior"}]}', 1)
    assert named.status_code == 200
    number = named.json()["correction"]
    kept = SimpleITK.ReadImage(str(service.correction(job.id, number, "labels")))
    assert set(np.unique(SimpleITK.GetArrayFromImage(kept))) == {0, 2}
