"""BTCV's layout, the paper's settings against numbers written by hand from the paper, and the splits."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from unetr.core.plan.file import plan_to_yaml
from unetr.core.plan.schema import NetworkPlan, Plan
from unetr.errors import InputError
from unetr.io import read_label
from unetr.prepare.checks.check import check_dataset
from unetr.prepare.datasets.cases import open_dataset, read_case
from unetr.prepare.datasets.dataset import Case, Dataset
from unetr.prepare.datasets.folds import split_held_out
from unetr.prepare.paper.recipes import RECIPES, check_fits, recipe_named, recipe_plan
from unetr.prepare.paper.tables import learned_cases, write_tables


def plan_of(name: str, dataset: Dataset) -> Plan:
    return recipe_plan(RECIPES[name], dataset, NetworkPlan(), lambda done, of: None)


@pytest.fixture
def btcv(tmp_path: Path, datasets: ModuleType) -> Path:
    return datasets.write_btcv(tmp_path / "btcv")  # type: ignore[no-any-return]


@pytest.fixture
def spleen(tmp_path: Path, datasets: ModuleType) -> Path:
    return datasets.write_msd(tmp_path / "spleen", "Task09_Spleen")  # type: ignore[no-any-return]


@pytest.fixture
def brain(tmp_path: Path, datasets: ModuleType) -> Path:
    return datasets.write_msd(tmp_path / "brain", "Task01_BrainTumour")  # type: ignore[no-any-return]


@pytest.mark.parametrize("folder", [".", "RawData", "RawData/Training"])
def test_btcv_is_read_as_distributed_from_any_level(btcv: Path, folder: str) -> None:
    dataset = open_dataset(btcv / folder)
    assert (dataset.layout, dataset.name, dataset.channel_names) == ("btcv", "BTCV", ("CT",))
    assert [case.id for case in dataset.cases] == [f"img{number:04d}" for number in range(1, 6)]
    assert dataset.labels["background"] == 0 and dataset.labels["liver"] == 6 and len(dataset.labels) == 14
    # As the challenge numbers them.
    assert [dataset.labels[name] for name in ("spleen", "right kidney", "left kidney", "pancreas")] == [1, 2, 3, 11]
    assert [dataset.labels[name] for name in ("right adrenal gland", "left adrenal gland")] == [12, 13]
    image, label = read_case(dataset.cases[2], dataset)
    assert label is not None and set(np.unique(label.data)) == set(range(14))
    assert image.data[0][label.data[0] == 6].min() == 40 + 60
    assert check_dataset(dataset).problems == ()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda root: (root / "label/label0003.nii.gz").unlink(), ["first 0003", "label/label0003.nii.gz"]),
        (lambda root: (root / "img/img0003.nii.gz").unlink(), ["first 0003", "img/img0003.nii.gz"]),
        (lambda root: (root / "img/img0003.nii.gz").rename(root / "img/scan3.nii.gz"), ["scan3", "img0001.nii.gz"]),
        (lambda root: (root / "img/img0003.nii").write_bytes(b""), ["scan 0003", "keep one"]),
    ],
)
def test_what_is_missing_or_more_in_btcv_is_named(btcv: Path, spoil, words: list[str]) -> None:
    spoil(btcv / "RawData/Training")
    with pytest.raises(InputError) as refused:
        open_dataset(btcv)
    assert all(word in str(refused.value) for word in words), refused.value


def test_the_plan_for_btcv_is_the_papers(btcv: Path) -> None:
    """Sections 4.1 and 4.3: [-1000, 1000] HU to [0, 1], 1 mm, 96^3, batch 6, AdamW 1e-4, 1:1, overlap 0.5."""
    plan = plan_of("btcv", open_dataset(btcv))
    (channel,) = plan.channels
    assert (channel.normalisation, channel.low, channel.high) == ("range", -1000, 1000)
    assert plan.spacing_mm == (1, 1, 1) and plan.window == (96, 96, 96) and plan.outputs == 14
    network = plan.network
    assert (network.patch, network.width, network.depth, network.heads, network.taps) == (
        16,
        768,
        12,
        12,
        (3, 6, 9, 12),
    )
    training = plan.training
    assert (training.batch_size, training.learning_rate, training.foreground_fraction) == (6, 1e-4, 0.5)
    assert (training.loss.squared, training.loss.include_background) == (True, True)
    assert plan.inference.overlap == 0.5
    used = {key for key, value in training.augment.model_dump().items() if key.endswith("probability") and value}
    assert used == {"quarter_turn_probability", "rescale_probability", "shift_probability"}
    assert training.augment.mirror_axes == (0, 1, 2)


def test_the_plan_for_the_spleen_measures_its_percentiles(spleen: Path) -> None:
    dataset = open_dataset(spleen)
    plan = plan_of("msd-spleen", dataset)
    import nibabel

    voxels = np.concatenate(
        [
            np.asarray(nibabel.load(path).dataobj)[
                np.asarray(nibabel.load(spleen / "labelsTr" / path.name).dataobj) > 0
            ]
            for path in (spleen / "imagesTr").iterdir()
        ]
    )
    (channel,) = plan.channels
    assert (channel.low, channel.high) == pytest.approx(np.percentile(voxels, (5, 95)))
    assert plan.labels == {"background": 0, "spleen": 1} and plan.window == (96, 96, 96)


def test_the_plan_for_the_brain_has_the_three_regions(brain: Path) -> None:
    plan = plan_of("msd-brain", open_dataset(brain))
    assert [channel.name for channel in plan.channels] == ["FLAIR", "T1w", "t1gd", "T2w"]
    assert {channel.normalisation for channel in plan.channels} == {"zscore"}
    assert {region.name: set(region.labels) for region in plan.regions} == {"WT": {1, 2, 3}, "TC": {2, 3}, "ET": {3}}
    assert plan.window == (128, 128, 128) and plan.outputs == 3


def test_quarter_turns_need_square_windows(btcv: Path) -> None:
    data = json.loads(plan_of("btcv", open_dataset(btcv)).model_dump_json())
    with pytest.raises(ValueError, match="square in the first two axes"):
        Plan.model_validate(data | {"window": (96, 64, 96)})
    with pytest.raises(ValueError, match="square in the first two axes"):
        Plan.model_validate(data | {"spacing_mm": (1, 1.5, 1)})
    assert Plan.model_validate(data | {"window": (96, 96, 64)}).window[2] == 64


@pytest.mark.parametrize("name", RECIPES)
def test_the_papers_means_are_those_of_its_columns(name: str) -> None:
    """What is written down of tables 1 and 2 is right to the last digit, which the paper rounds or cuts off."""
    recipe = RECIPES[name]
    if recipe.mean is None:
        return
    assert np.mean([column.paper_dice for column in recipe.columns]) == pytest.approx(recipe.mean.paper_dice, abs=1e-3)
    known = {target for column in recipe.columns for target in column.targets}
    assert known == set(recipe.labels[1:]) or known == {region.name for region in recipe.regions}


def test_another_data_set_is_refused_by_its_first_difference(brain: Path, spleen: Path, edit_json) -> None:
    with pytest.raises(InputError, match="has the channels CT; expected FLAIR, T1w, t1gd, T2w"):
        check_fits(RECIPES["msd-brain"], open_dataset(spleen))
    check_fits(RECIPES["msd-brain"], open_dataset(brain))  # "tumour" there, "tumor" here
    labels = {"0": "background", "1": "edema", "2": "enhancing tumor", "3": "non-enhancing tumor"}
    edit_json(brain / "dataset.json", labels=labels)
    with pytest.raises(InputError, match="label 2 is 'enhancing tumor'; expected 'non-enhancing tumor'"):
        check_fits(RECIPES["msd-brain"], open_dataset(brain))
    edit_json(spleen / "dataset.json", labels={"0": "background", "1": "spleen", "2": "cyst"})
    with pytest.raises(InputError, match="label 2 is 'cyst'; expected no such label"):
        check_fits(RECIPES["msd-spleen"], open_dataset(spleen))
    edit_json(brain / "dataset.json", modality={"0": "T1w", "1": "FLAIR", "2": "t1gd", "3": "T2w"})
    with pytest.raises(InputError, match="in this order"):
        check_fits(RECIPES["msd-brain"], open_dataset(brain))
    with pytest.raises(InputError, match="expected one of btcv, msd-spleen, msd-brain"):
        recipe_named("acdc")


def cases(count: int) -> Dataset:
    made = [Case(f"c{i}", (Path(f"{i}.nii.gz"),), Path(f"{i}-label.nii.gz"), f"s{i // 2}") for i in range(count)]
    return Dataset("d", Path("d"), "csv", tuple(made), ("MR",), {"background": 0, "a": 1})


def test_held_out_cases_are_shares_of_the_subjects() -> None:
    """82 cases of 41 subjects: 5 % are 2.05 subjects, 15 % are 6.15."""
    validation, test = split_held_out(cases(82), 0.15, 0.05)
    assert (len(validation), len(test)) == (12, 4) and not set(validation) & set(test)
    assert (validation, test) == split_held_out(cases(82), 0.15, 0.05)
    assert (validation, test) != split_held_out(cases(82), 0.15, 0.05, seed=1)
    subjects = [{int(name[1:]) // 2 for name in part} for part in (validation, test)]
    assert not subjects[0] & subjects[1]
    assert split_held_out(cases(82), 0, 0.05)[1] == test
    with pytest.raises(InputError, match="expected at least 3"):
        split_held_out(cases(4), 0.15, 0.05)


def test_the_tables_are_the_data_set_again(brain: Path, tmp_path: Path) -> None:
    dataset, recipe = open_dataset(brain), RECIPES["msd-brain"]
    learned, test = learned_cases(recipe, dataset, splits=0)
    tables = write_tables(recipe, learned, test, tmp_path / "out")
    read = open_dataset(tables.learned)
    assert read.channel_names == ("FLAIR", "T1w", "t1gd", "T2w")
    assert read.labels == recipe.values and read.licence == "CC-BY-SA 4.0" and read.reference == "Decathlon"
    assert sorted(case.fold for case in read.cases if case.fold is not None) == [0, 1, 1, 1, 1]
    assert tables.test is not None
    held = open_dataset(tables.test).cases
    assert {case.id for case in (*read.cases, *held)} == {case.id for case in dataset.cases} and len(held) == 1
    for case in read.cases:
        image, label = read_case(case, read)
        assert image.data.shape[0] == 4 and label is not None
        assert np.array_equal(label.data, read_label(brain / "labelsTr" / f"{case.id}.nii.gz").data)
    write_tables(recipe, learned, test, tmp_path / "out")
    with pytest.raises(InputError, match="another data set or another number of splits") as refused:
        write_tables(recipe, *learned_cases(recipe, dataset, splits=4), tmp_path / "out")
    assert refused.value.hint == "splits"


def test_every_plan_says_where_its_numbers_come_from(btcv: Path) -> None:
    plan = plan_of("btcv", open_dataset(btcv))
    for key in ("channels", "spacing_mm", "window", "training.batch_size", "training.augment", "inference.overlap"):
        assert "section 4." in plan.reasons[key]
    for key in ("orientation", "training.weight_decay", "inference.blending"):
        assert "published code" in plan.reasons[key]
    assert "quarter_turn_probability: 0.2" in plan_to_yaml(plan)
