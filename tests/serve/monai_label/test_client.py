"""MONAI Label's own client, unchanged, against a real server: every call that 3D Slicer's module makes."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import SimpleITK
from tests.serve.monai_label.peers import client_module

import unetr

SLICER = {"result_extension": ".nrrd", "result_dtype": "uint8"}


@pytest.fixture(scope="module")
def peer() -> ModuleType:
    return client_module()


@pytest.fixture
def client(peer: ModuleType, address: str, tmp_path: Path) -> Any:
    return peer.MONAILabelClient(address, str(tmp_path), "person")


def as_nifti(series: Path, target: Path) -> Path:
    """The series as ITK writes it, which is what Slicer uploads."""
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(series)))
    SimpleITK.WriteImage(reader.Execute(), str(target))
    return target


def placed(image: SimpleITK.Image) -> tuple[np.ndarray, np.ndarray]:
    """Voxels [X, Y, Z] and affine in RAS mm, by ITK."""
    direction = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = direction, image.GetOrigin()
    return SimpleITK.GetArrayFromImage(image).T, np.diag([-1, -1, 1, 1]) @ affine


def test_info_has_what_slicer_and_ohif_read(client: Any) -> None:
    info = client.info()
    assert not info.get("config"), "Slicer takes it for a server of an old kind"
    assert info["labels"] == ["Anterior", "Posterior"]
    model = info["models"]["hippocampus"]
    assert (model["type"], model["labels"]) == ("segmentation", {"Anterior": 1, "Posterior": 2})
    assert info["trainers"] == {} and info["strategies"] == {}


@pytest.mark.parametrize("direction", ["axial", "sagittal", "reversed"])
def test_slicers_way_gives_each_voxel_its_label(
    client: Any, all_series: dict[str, Path], tmp_path: Path, direction: str
) -> None:
    scan = as_nifti(all_series[direction], tmp_path / "Doe^Jane.nii.gz")
    session = client.create_session(str(scan))
    assert client.get_session(session["session_id"])["image"]
    file, params = client.infer("hippocampus", "Doe^Jane", dict(SLICER), session_id=session["session_id"])
    found, affine = placed(SimpleITK.ReadImage(file))
    expected = unetr.load("hippocampus").predict(scan).labels
    assert params["label_names"] == {"Anterior": 1, "Posterior": 2}
    assert np.count_nonzero(found) > 1000
    assert np.array_equal(found, expected.data[0])
    assert np.allclose(affine, expected.affine, atol=1e-4)
    assert client.remove_session(session["session_id"])["image"] == session["session_info"]["image"]
    assert not client.get_session(session["session_id"])
    with pytest.raises(Exception, match="404"):
        client.infer("hippocampus", "nobody", dict(SLICER), session_id=session["session_id"])


def test_an_image_is_uploaded_segmented_corrected_and_read_again(
    client: Any, all_series: dict[str, Path], tmp_path: Path, address: str
) -> None:
    scan = as_nifti(all_series["axial"], tmp_path / "a.nii.gz")
    assert client.upload_image(str(scan), "Doe Jane 1970") == {"image": "Doe Jane 1970"}
    with pytest.raises(Exception, match="404"):
        client.save_label("nobody", str(scan))
    file, _ = client.infer("hippocampus", "Doe Jane 1970", dict(SLICER))
    image = SimpleITK.ReadImage(file)
    voxels = SimpleITK.GetArrayFromImage(image)
    voxels[voxels == 2] = 1
    drawn = SimpleITK.GetImageFromArray(voxels)
    drawn.CopyInformation(image)
    SimpleITK.WriteImage(drawn, str(tmp_path / "drawn.nii.gz"))
    names = [{"name": "Anterior", "idx": 1}, {"name": "Posterior", "idx": 2}]
    saved = client.save_label("Doe Jane 1970", str(tmp_path / "drawn.nii.gz"), params={"label_info": names})
    assert saved["image"] == "Doe Jane 1970"
    kept = SimpleITK.ReadImage(client.download_label("Doe Jane 1970", "final"))
    assert np.array_equal(SimpleITK.GetArrayFromImage(kept), voxels)
    original = SimpleITK.ReadImage(client.download_label("Doe Jane 1970", "original"))
    assert np.array_equal(SimpleITK.GetArrayFromImage(original), SimpleITK.GetArrayFromImage(image))
    listed = client.datastore()
    assert "Doe" not in json.dumps(listed)
    assert any({"original", "final"} == set(each["labels"]) for each in listed["objects"].values())
    assert client.info()["datastore"]["completed"] >= 1


def test_a_file_can_come_with_the_request(client: Any, all_series: dict[str, Path], tmp_path: Path) -> None:
    scan = as_nifti(all_series["axial"], tmp_path / "a.nii.gz")
    file, params = client.infer("hippocampus", "", {}, file=str(scan))
    assert file.endswith(".nii.gz")
    assert np.count_nonzero(SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(file))) > 1000
    assert set(params["label_names"]) == {"Anterior", "Posterior"}


def test_what_is_not_offered_is_told_as_clients_expect(client: Any) -> None:
    assert client.auth_enabled() is False
    assert client.auth_token("person", "secret") == {"access_token": None, "token_type": None}
    assert client.auth_valid_token() is True
    assert client.next_sample("random", {}) == {}
    assert client.train_status(check_if_running=True) is False
    for call in (lambda: client.train_start("hippocampus", {}), client.train_stop, client.train_status):
        with pytest.raises(Exception, match="does not train"):
            call()
    with pytest.raises(Exception, match="no such model"):
        client.infer("spleen", "x", {})
    with pytest.raises(Exception, match="upload it first"):
        client.infer("hippocampus", "x", {})
