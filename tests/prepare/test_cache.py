"""Cached cases equal what preprocessing gives, are reused, renewed when anything changes, and repaired when damaged."""

from __future__ import annotations

import os

import numpy as np
import pytest

from unetr.core.plan.schema import ChannelPlan, Plan
from unetr.errors import InputError, MachineError
from unetr.prepare import cache as cache_module
from unetr.prepare import prepared as prepared_module
from unetr.prepare.cache import build_cache, foreground_voxels
from unetr.prepare.datasets.cases import open_dataset, read_case, read_learned
from unetr.prepare.preprocess import preprocess_image, preprocess_label

FILES = ("image.npy", "label.npy", "foreground.npy", "json")


@pytest.fixture
def plan() -> Plan:
    return Plan(
        dataset="d",
        channels=[ChannelPlan(name="MR0")],
        labels={"background": 0, "front": 1, "back": 2},
        spacing_mm=(1.0, 1.0, 1.0),
        window=(16, 16, 16),
    )


@pytest.fixture
def prepared(monkeypatch):
    """Ids of the cases that were read, in the order of reading."""
    ids = []

    def spy(case, dataset):
        ids.append(case.id)
        return read_learned(case, dataset)

    monkeypatch.setattr(prepared_module, "read_learned", spy)
    return ids


def test_cached_arrays_equal_the_preprocessed_ones(make_dataset, tmp_path, plan):
    dataset = open_dataset(make_dataset())
    cache = build_cache(dataset, plan, tmp_path / "cache")
    assert cache.ids == tuple(case.id for case in dataset.cases)
    for case in dataset.cases:
        cached = cache.open(case.id)
        image, label = read_case(case, dataset)
        assert np.array_equal(cached.image, preprocess_image(image, plan)[0])
        assert np.array_equal(cached.label, preprocess_label(label, plan))
        assert isinstance(cached.image, np.memmap)
        assert not cached.image.flags.writeable
        assert sorted(cached.foreground) == [1, 2]
        for index, voxels in cached.foreground.items():
            assert voxels.dtype == np.int32
            assert np.array_equal(voxels, np.argwhere(cached.label == index))
    with pytest.raises(KeyError):
        cache.open("../case_00")


def test_second_build_prepares_nothing(make_dataset, tmp_path, plan, prepared):
    dataset = open_dataset(make_dataset())
    calls = []
    first = build_cache(dataset, plan, tmp_path / "cache", 1, lambda done, total: calls.append((done, total)))
    assert len(prepared) == 6
    assert calls == [(i, 6) for i in range(1, 7)]
    assert build_cache(dataset, plan, tmp_path / "cache") == first
    assert len(prepared) == 6
    # Only what preprocessing reads is part of the key.
    build_cache(dataset, plan.model_copy(update={"window": (32, 32, 32)}), tmp_path / "cache")
    assert len(prepared) == 6


@pytest.mark.parametrize(
    "change",
    [
        {"spacing_mm": (2.0, 1.0, 1.0)},
        {"orientation": "LPS"},
        {"channels": (ChannelPlan(name="MR0", normalisation="none"),)},
        {"ignore_label": 5},
    ],
    ids=lambda change: next(iter(change)),
)
def test_other_preprocessing_prepares_all_again(make_dataset, tmp_path, plan, prepared, change):
    dataset = open_dataset(make_dataset())
    build_cache(dataset, plan, tmp_path / "cache")
    other = plan.model_copy(update=change)
    cache = build_cache(dataset, other, tmp_path / "cache")
    assert len(prepared) == 12
    image, _ = read_case(dataset.cases[0], dataset)
    assert np.array_equal(cache.open("case_00").image, preprocess_image(image, other)[0])


@pytest.mark.fault("changed data")
@pytest.mark.parametrize("kind", ["imagesTr", "labelsTr"])
def test_changed_source_file_is_prepared_again_even_with_its_size_and_time(
    make_dataset, tmp_path, plan, prepared, kind
):
    root = make_dataset()
    dataset = open_dataset(root)
    first = build_cache(dataset, plan, tmp_path / "cache")
    changed = root / kind / "case_03.nii.gz"
    status, content = changed.stat(), bytearray(changed.read_bytes())
    content[4] ^= 1  # the time in the gzip header
    changed.write_bytes(content)
    os.utime(changed, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert changed.stat().st_size == status.st_size
    prepared.clear()
    build_cache(dataset, plan, tmp_path / "cache")
    assert prepared == ["case_03"]
    with pytest.raises(InputError, match="'case_03' was prepared again"):
        first.open("case_03")
    assert first.open("case_02").image.shape == (1, 14, 12, 10)


@pytest.mark.fault("changed data")
def test_dataset_that_was_moved_or_touched_is_not_prepared_again(make_dataset, tmp_path, plan, prepared):
    root = make_dataset()
    build_cache(open_dataset(root), plan, tmp_path / "cache")
    moved = root.rename(tmp_path / "moved")
    os.utime(moved / "imagesTr/case_03.nii.gz")
    build_cache(open_dataset(moved), plan, tmp_path / "cache")
    assert len(prepared) == 6


@pytest.mark.fault("changed data")
def test_file_that_changes_while_it_is_read_is_refused(make_dataset, tmp_path, plan, monkeypatch):
    root = make_dataset("decathlon", 2)

    def read(case, dataset):
        found = read_learned(case, dataset)
        case.label.write_bytes((root / "labelsTr/case_00.nii.gz").read_bytes() + b"more")
        return found

    monkeypatch.setattr(prepared_module, "read_learned", read)
    with pytest.raises(InputError, match="was changed while it was read"):
        build_cache(open_dataset(root), plan, tmp_path / "cache", 1)
    assert not list((tmp_path / "cache").glob("*.json"))


@pytest.mark.parametrize("keep", [0.0, 0.02, 0.5, 0.999, None], ids=["empty", "header", "half", "tail", "removed"])
@pytest.mark.parametrize("file", FILES)
def test_damaged_file_is_rebuilt(make_dataset, tmp_path, plan, prepared, file, keep):
    dataset = open_dataset(make_dataset())
    build_cache(dataset, plan, tmp_path / "cache")
    damaged = tmp_path / f"cache/case_02.{file}"
    good = damaged.read_bytes()
    if keep is None:
        damaged.unlink()
    else:
        damaged.write_bytes(good[: int(len(good) * keep)])
    prepared.clear()
    cache = build_cache(dataset, plan, tmp_path / "cache")
    assert prepared == ["case_02"]
    assert damaged.read_bytes() == good
    assert cache.open("case_02").image.shape == (1, 14, 12, 10)


def test_opening_a_case_damaged_after_the_build_is_an_error(make_dataset, tmp_path, plan):
    cache = build_cache(open_dataset(make_dataset()), plan, tmp_path / "cache")
    path = tmp_path / "cache/case_02.image.npy"
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(InputError, match="case_02"):
        cache.open("case_02")


def test_a_pickle_in_place_of_an_array_is_not_loaded(make_dataset, tmp_path, plan, prepared):
    dataset = open_dataset(make_dataset())
    build_cache(dataset, plan, tmp_path / "cache")
    np.save(tmp_path / "cache/case_02.image.npy", np.array([{}], dtype=object), allow_pickle=True)
    prepared.clear()
    build_cache(dataset, plan, tmp_path / "cache")
    assert prepared == ["case_02"]


def test_stopped_between_the_files_of_a_case_is_not_taken_for_finished(make_dataset, tmp_path, plan, monkeypatch):
    """Old record, new image: the record must not vouch for arrays that another plan made."""
    dataset = open_dataset(make_dataset())
    build_cache(dataset, plan, tmp_path / "cache", 1)
    expected = np.array(build_cache(dataset, plan, tmp_path / "cache", 1).open("case_00").image)

    def stop(*_, **__):
        raise KeyboardInterrupt

    other = plan.model_copy(update={"channels": (ChannelPlan(name="MR0", normalisation="none"),)})
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(cache_module, "write_text", stop)
        build_cache(dataset, other, tmp_path / "cache", 1)
    assert np.array_equal(build_cache(dataset, plan, tmp_path / "cache", 1).open("case_00").image, expected)


def test_case_without_foreground_is_cached(make_dataset, save_scan, tmp_path, plan, prepared):
    root = make_dataset("decathlon", 2)
    save_scan(root / "labelsTr/case_00.nii.gz", np.zeros((14, 12, 10), np.uint8))
    dataset = open_dataset(root)
    for _ in range(2):
        cache = build_cache(dataset, plan, tmp_path / "cache")
        assert cache.open("case_00").foreground == {}
        assert len(prepared) == 2


def test_unreadable_case_is_named_and_leaves_no_file(make_dataset, tmp_path, plan):
    root = make_dataset("decathlon", 3)
    (root / "imagesTr/case_01.nii.gz").write_bytes(b"")
    with pytest.raises(InputError, match="case_01"):
        build_cache(open_dataset(root), plan, tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("*case_01*"))
    assert not list((tmp_path / "cache").glob(".unetr-*"))


def test_folder_that_cannot_be_made(make_dataset, tmp_path, plan):
    (tmp_path / "file").touch()
    with pytest.raises(MachineError, match="file"):
        build_cache(open_dataset(make_dataset("decathlon", 2)), plan, tmp_path / "file/cache")


def test_foreground_sample_is_bounded_and_repeats():
    label = np.zeros((40, 40, 40), np.int16)
    label[:20] = 1
    label[30, 30, :7] = 3
    label[35] = -1
    table = foreground_voxels(label, "a")
    assert {int(i): int((table[:, 0] == i).sum()) for i in np.unique(table[:, 0])} == {1: 5000, 3: 7}
    assert np.array_equal(label[tuple(table[:, 1:].T)], table[:, 0])
    assert len(np.unique(table, axis=0)) == len(table)
    assert np.array_equal(table, foreground_voxels(label, "a"))
    assert not np.array_equal(table, foreground_voxels(label, "b"))
