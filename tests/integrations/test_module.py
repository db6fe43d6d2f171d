"""The module for 3D Slicer against a real server: what is shown, where it is shown, and what is sent back.

Slicer is not run: `stand_ins.py` takes its place, and reads and writes volumes with ITK, as Slicer does.
"""

from __future__ import annotations

import time
import unittest
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import SimpleITK
from tests.integrations.stand_ins import Node, load_module, slicer
from tests.serve.monai_label.serving import serving

import unetr
from unetr.queue.service import Service
from unetr.serve.safety.tokens import new_token


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with Service(tmp_path_factory.mktemp("queue") / "queue", ["hippocampus"]) as made:
        yield made


@pytest.fixture(scope="module")
def address(service: Service) -> Iterator[str]:
    with serving(service) as found:
        yield found


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    (tmp_path / "temporary").mkdir()
    return load_module(monkeypatch, tmp_path / "temporary")


@pytest.fixture
def scan(shared_data: Path) -> SimpleITK.Image:
    """A real scan, turned so that no axis of it is one of the patient's, with voxels of three lengths."""
    source = next((shared_data / "Task04_Hippocampus" / "imagesTr").glob("[!.]*.nii.gz"))
    image = SimpleITK.Cast(SimpleITK.ReadImage(str(source)), SimpleITK.sitkFloat32)
    turn = SimpleITK.Euler3DTransform((0, 0, 0), 0.2, -0.1, 0.3).GetMatrix()
    image.SetDirection(tuple((np.reshape(turn, (3, 3)) @ np.diag([1, -1, 1])).ravel()))
    image.SetSpacing((1.0, 1.1, 0.9))
    image.SetOrigin((-20.5, 33.25, 7.125))
    return image


def widget_at(module: ModuleType, address: str, volume: Node | None, token: str = "") -> Any:
    widget = module.UnetrServeWidget()
    widget.setup()
    widget.address.setText(address)
    widget.token.setText(token)
    widget.volume.node = volume
    widget.connect_button.listener()
    return widget


def until_done(widget: Any) -> str:
    end = time.monotonic() + 60
    while widget.timer.isActive() and time.monotonic() < end:
        widget.timer.listener()
        time.sleep(0.02)
    return str(widget.status.text)


def test_a_volume_is_segmented_shown_in_place_and_corrected(
    module: ModuleType, service: Service, address: str, scan: SimpleITK.Image, tmp_path: Path
) -> None:
    widget = widget_at(module, address, Node(scan))
    assert widget.status.text == "Connected: 1 models." and widget.run_button.enabled
    widget.run_button.listener()
    assert widget.stop_button.enabled and not widget.run_button.enabled
    assert until_done(widget).startswith("The scan")

    SimpleITK.WriteImage(scan, str(tmp_path / "scan.nrrd"))
    expected = unetr.load("hippocampus").predict(tmp_path / "scan.nrrd")
    segmentation = widget.shown
    assert [each.name for each in segmentation.segments] == ["Anterior", "Posterior"]
    for value, segment in enumerate(segmentation.segments, start=1):
        assert np.count_nonzero(segment.mask) > 100
        assert np.array_equal(segment.mask.T, expected.labels.data[0] == value)
        assert max(segment.color) > 0
    assert segmentation.image.GetSize() == scan.GetSize()
    for corner in ((0, 0, 0), tuple(size - 1 for size in scan.GetSize())):
        place = segmentation.image.TransformIndexToPhysicalPoint(corner)
        assert place == pytest.approx(scan.TransformIndexToPhysicalPoint(corner), abs=1e-3)
    assert widget.table.cells[0, 0] == "Anterior"
    assert widget.table.cells[0, 1] == f"{expected.volumes_ml['Anterior']:.2f}"

    anterior, posterior = segmentation.segments
    segmentation.segments = [posterior, anterior]  # a person may order them anew
    anterior.mask = anterior.mask.copy()
    anterior.mask[:2] = True
    widget.send_button.listener()
    assert widget.status.text == "The server keeps it as correction 1."
    kept = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(service.correction(widget.job["id"], 1, "labels"))))
    assert np.array_equal(kept == 1, anterior.mask)
    assert np.array_equal(kept == 2, posterior.mask & ~anterior.mask)
    assert slicer().mrmlScene.nodes == [segmentation], "no label map is left in the scene"
    assert list((tmp_path / "temporary").iterdir()) == []


def test_a_segmentation_whose_segments_cannot_be_named_is_taken_away(
    module: ModuleType, address: str, scan: SimpleITK.Image
) -> None:
    widget = widget_at(module, address, Node(scan))
    widget.models[0] = widget.models[0] | {"labels": {"Anterior": 1}}  # as of another file of the same name
    widget.run_button.listener()
    assert until_done(widget) == (
        "This did not work: the result has a label 2 that the model does not name; connect again"
    )
    assert slicer().mrmlScene.nodes == []
    assert widget.shown is None and not widget.send_button.enabled and widget.run_button.enabled


def test_a_job_is_cancelled(module: ModuleType, address: str) -> None:
    voxels = np.random.default_rng(1).normal(100, 30, (150, 150, 150)).astype(np.float32)
    widget = widget_at(module, address, Node(SimpleITK.GetImageFromArray(voxels)))
    widget.run_button.listener()
    widget.stop_button.listener()
    assert until_done(widget) == "Cancelled."
    assert widget.run_button.enabled and not widget.send_button.enabled


def test_what_goes_wrong_is_told_in_words(
    module: ModuleType, address: str, service: Service, scan: SimpleITK.Image, tmp_path: Path
) -> None:
    for wrong in ("127.0.0.1:8000", "ftp://x", ""):
        assert "is no address of a server" in widget_at(module, wrong, None).status.text
    assert "Is `unetr serve` running there?" in widget_at(module, "http://127.0.0.1:9", None).status.text
    assert widget_at(module, address, None).run_button.enabled
    widget = widget_at(module, address, None)
    widget.run_button.listener()
    assert widget.status.text == "Choose a volume and a model first."
    flat = SimpleITK.GetImageFromArray(np.zeros((1, 40, 40), np.float32))
    widget = widget_at(module, address, Node(flat))
    widget.run_button.listener()
    assert until_done(widget).startswith("This did not work:")
    widget = widget_at(module, address, Node(scan))
    widget.run_button.listener()
    until_done(widget)
    widget.shown.segments[0].name = "Tumour"
    widget.send_button.listener()
    assert "expected each of these at most once: Anterior, Posterior" in widget.status.text


def test_a_token_is_sent_where_it_is_needed(module: ModuleType, service: Service, tmp_path: Path) -> None:
    token = new_token(tmp_path / "tokens.json", "slicer")
    with serving(service, tokens=tmp_path / "tokens.json") as address:
        assert "Give a token" in widget_at(module, address, None).status.text
        assert "Give a token" in widget_at(module, address, None, "wrong").status.text
        assert widget_at(module, address, None, token).status.text == "Connected: 1 models."


def test_the_modules_own_words(module: ModuleType) -> None:
    told = unittest.TestResult()
    module.UnetrServeTest("test_words").run(told)
    assert (told.testsRun, told.failures, told.errors, told.skipped) == (1, [], [], [])
