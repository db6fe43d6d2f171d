"""Scans without labels: every layout's images, folders of scans, their channels; measured, planned and cached."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from unetr.errors import InputError
from unetr.prepare.cache import build_cache
from unetr.prepare.datasets.cases import LAYOUTS, Dataset, open_dataset
from unetr.prepare.datasets.unlabelled import open_unlabelled
from unetr.prepare.measure.fingerprint import measure_fingerprint
from unetr.prepare.planning.planner import make_plan

MakeDataset = Callable[..., Path]
SaveScan = Callable[..., Path]
BACKGROUND = {"background": 0}


def ids(dataset: Dataset) -> list[str]:
    return [case.id for case in dataset.cases]


@pytest.mark.parametrize("layout", sorted(LAYOUTS.keys() - {"btcv"}))
@pytest.mark.parametrize("channels", [1, 2])
def test_a_datasets_images_without_its_labels(make_dataset: MakeDataset, layout: str, channels: int) -> None:
    path = make_dataset(layout, cases=3, channels=channels)
    labelled, dataset = open_dataset(path), open_unlabelled(path)
    assert dataset.unlabelled and not labelled.unlabelled
    assert [case.images for case in dataset.cases] == [case.images for case in labelled.cases]
    assert ids(dataset) == ids(labelled) == [case.id for case in dataset.learned_from]
    assert all(case.label is None for case in dataset.cases)
    assert dataset.channel_names == labelled.channel_names
    assert dataset.labels == BACKGROUND
    names = ["CT", "MR"][:channels]
    assert open_unlabelled(path, names).channel_names == tuple(names)
    with pytest.raises(InputError, match=f"has {channels} channel"):
        open_unlabelled(path, ["a", "b", "c"])


def test_btcv_without_its_labels(tmp_path: Path, datasets: ModuleType) -> None:
    path = datasets.write_btcv(tmp_path / "btcv")
    dataset = open_unlabelled(path)
    assert [case.images for case in dataset.cases] == [case.images for case in open_dataset(path).cases]
    assert all(case.label is None for case in dataset.cases)
    assert (dataset.channel_names, dataset.labels) == (("CT",), BACKGROUND)


def test_labels_are_not_even_read(make_dataset: MakeDataset) -> None:
    path = make_dataset("decathlon", cases=2)
    expected = measure_fingerprint(open_unlabelled(path))
    for label in (path / "labelsTr").iterdir():
        label.write_bytes(b"no scan at all")
    dataset = open_unlabelled(path)
    assert measure_fingerprint(dataset) == expected
    build_cache(dataset, make_plan(dataset, expected, preset="tiny"), path / "cache")


def test_a_table_of_images_alone(make_dataset: MakeDataset) -> None:
    path = make_dataset("csv", cases=2)
    path.write_text("image\nscans/0_0.nii.gz\nscans/1_0.nii.gz\n")
    assert ids(open_unlabelled(path)) == ["0_0", "1_0"]
    (path.parent / "table.labels.json").unlink()
    with pytest.raises(InputError, match="no case has a label"):
        open_dataset(path)


def test_folders_of_scans(tmp_path: Path, save_scan: SaveScan) -> None:
    data = np.zeros((3, 4, 5), np.int16)
    for name in ("b_0001", "b_0000", "a_0000", "a_0001", "whole"):
        save_scan(tmp_path / f"{name}.nii.gz", np.stack([data, data], axis=3) if name == "whole" else data)
    dataset = open_unlabelled(tmp_path)
    assert dataset.channel_names == ("channel_0", "channel_1")
    assert [(case.id, len(case.images)) for case in dataset.cases] == [("a", 2), ("b", 2), ("whole", 1)]
    assert open_unlabelled(tmp_path, ["T1", "T2"]).channel_names == ("T1", "T2")
    (tmp_path / "b_0001.nii.gz").unlink()
    with pytest.raises(InputError, match="lacks the channel file b_0001"):
        open_unlabelled(tmp_path)


def test_digits_that_are_no_channels_and_channels_in_one_file(tmp_path: Path, save_scan: SaveScan) -> None:
    for year in (2020, 2021):
        save_scan(tmp_path / f"scan_{year}.nii.gz", np.zeros((3, 4, 5, 3), np.int16))
    dataset = open_unlabelled(tmp_path)
    assert ids(dataset) == ["scan_2020", "scan_2021"]
    assert dataset.channel_names == ("channel_0", "channel_1", "channel_2")
    assert measure_fingerprint(dataset).cases == 2
    save_scan(tmp_path / "odd.nii.gz", np.zeros((3, 4, 5), np.int16))
    with pytest.raises(InputError, match=r"odd\.nii\.gz: .*has 1 channels"):
        measure_fingerprint(open_unlabelled(tmp_path, ["a", "b", "c"]))


def test_nothing_to_learn_from(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no scan"):
        open_unlabelled(tmp_path)
    with pytest.raises(InputError, match="no such file"):
        open_unlabelled(tmp_path / "gone")


def test_a_fingerprint_and_plan_without_labels(tmp_path: Path, save_scan: SaveScan) -> None:
    """By hand: the values 0..59 in each scan, all of which count, as nothing is foreground."""
    for name in ("a", "b"):
        data = np.arange(60, dtype=np.float32).reshape(3, 4, 5)
        save_scan(tmp_path / f"{name}.nii.gz", data, np.diag([2.0, 2.0, 3.0, 1.0]))
    dataset = open_unlabelled(tmp_path, ["CT"])
    found = measure_fingerprint(dataset)
    assert (found.cases, found.labels, found.shapes) == (2, [], [(3, 4, 5), (3, 4, 5)])
    statistics = found.channels["CT"]
    assert (statistics.minimum, statistics.maximum, statistics.mean) == (0, 59, 29.5)
    assert statistics.std == pytest.approx(np.sqrt((60**2 - 1) / 12))
    plan = make_plan(dataset, found, preset="tiny")
    assert plan.pretraining is not None and plan.pretraining.masked_fraction == 0.6
    assert (plan.labels, plan.outputs, plan.channels[0].normalisation) == (BACKGROUND, 1, "ct")
    assert "60%" in plan.reasons["pretraining"]
    assert plan.training.augment.mirror_axes == ()


def test_the_cache_holds_the_same_images_and_no_foreground(make_dataset: MakeDataset, tmp_path: Path) -> None:
    path = make_dataset("decathlon", cases=2)
    labelled, dataset = open_dataset(path), open_unlabelled(path)
    plan = make_plan(labelled, measure_fingerprint(labelled), preset="tiny")
    first = build_cache(labelled, plan, tmp_path / "labelled")
    second = build_cache(dataset, plan.model_copy(update={"labels": BACKGROUND}), tmp_path / "unlabelled")
    for case in first.ids:
        np.testing.assert_array_equal(second.open(case).image, first.open(case).image)
        assert second.open(case).label.shape == first.open(case).label.shape
        assert not second.open(case).label.any() and second.open(case).foreground == {}


def test_folders_of_dicom(tmp_path: Path, maker: ModuleType) -> None:
    rng = np.random.default_rng(0)
    for name in ("first", "second"):
        maker.write_series(tmp_path / name, rng.integers(0, 900, (6, 7, 5)).astype(np.int16))
    dataset = open_unlabelled(tmp_path)
    assert (ids(dataset), dataset.channel_names) == (["first", "second"], ("channel_0",))
    fingerprint = measure_fingerprint(dataset)
    assert fingerprint.cases == 2
    cache = build_cache(dataset, make_plan(dataset, fingerprint, preset="tiny"), tmp_path / "cache")
    assert cache.open("first").image.std() == pytest.approx(1, abs=0.05)
