"""Fingerprints against hand-worked facts, plans against the rules they state, and both on real scans."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import yaml

from unetr.core.plan.file import parse_plan, plan_to_yaml, read_plan
from unetr.core.plan.fingerprint import Fingerprint, IntensityStatistics
from unetr.core.plan.schema import Plan, TrainingPlan
from unetr.errors import InputError
from unetr.prepare.datasets.cases import LAYOUTS, open_dataset
from unetr.prepare.measure.fingerprint import measure_fingerprint
from unetr.prepare.planning.budget import Budget
from unetr.prepare.planning.channels import choose_normalisation
from unetr.prepare.planning.names import PRESET_NAMES
from unetr.prepare.planning.planner import (
    make_plan,
)
from unetr.prepare.planning.presets import PRESETS
from unetr.prepare.planning.template import template_plan
from unetr.prepare.planning.training_memory import training_memory


@pytest.fixture(scope="module")
def hippocampus(shared_data):
    dataset = open_dataset(shared_data / "Task04_Hippocampus")
    return dataset, measure_fingerprint(dataset)


def test_hippocampus_fingerprint(hippocampus):
    """Effect sizes as nibabel and numpy gave them outside of this package (population deviation; n = 208)."""
    _, fingerprint = hippocampus
    assert fingerprint.cases == 208
    assert fingerprint.orientations == {"RAS": 208}
    assert np.median(fingerprint.shapes, axis=0).tolist() == [35, 50, 35]
    assert fingerprint.spacings_mm[0] == (1.0, 1.0, 1.0)
    assert fingerprint.intensity_scale_spread > 1000
    anterior, posterior = fingerprint.labels
    assert (anterior.cases, posterior.cases) == (208, 208)
    correction = math.sqrt(207 / 208)
    assert anterior.side == pytest.approx(np.array([1.4566934, 7.6122796, -3.2354975]) * correction, rel=1e-5)
    assert posterior.side == pytest.approx(np.array([-1.4412201, -7.6509099, 3.2098968]) * correction, rel=1e-5)


def test_the_names_that_help_tells_are_those_of_the_presets() -> None:
    assert tuple(PRESETS) == PRESET_NAMES
    assert all(preset.network.preset == name for name, preset in PRESETS.items())


@pytest.mark.parametrize("preset", ["auto", *PRESETS])
def test_hippocampus_plan_mirrors_left_right_only(hippocampus, preset):
    plan = make_plan(*hippocampus, preset=preset)
    assert plan.training.augment.mirror_axes == (0,)
    assert plan.inference.mirror_axes == (0,)
    # The same spacing along all axes: with a stem the scans' own, else so fine that the median volume of 35 x 50 x 35
    # voxels of 1 mm fills the window.
    assert len(set(plan.spacing_mm)) == 1
    filled = np.array([35, 50, 35]) / plan.spacing_mm
    assert (filled <= np.array(plan.window) + 0.01).all()
    if plan.network.decoder == "stem":
        assert plan.spacing_mm == (1.0, 1.0, 1.0)
    else:
        assert (filled > np.array(plan.window) - 0.01).any()
    assert plan.channels[0].normalisation == "zscore"
    assert parse_plan(yaml.safe_load(plan_to_yaml(plan)), "round trip") == plan


def test_hippocampus_paper_plan(hippocampus):
    plan = make_plan(*hippocampus, preset="paper")
    assert plan.window == (48, 64, 48)
    assert plan.spacing_mm == pytest.approx((50 / 64,) * 3, rel=1e-3)
    assert "1.28 times finer" in plan.reasons["spacing_mm"]
    assert plan.training.batch_size == 4
    network = plan.network
    assert (network.patch, network.width, network.depth, network.heads) == (16, 768, 12, 12)
    assert (network.mlp_width, network.taps, network.feature_size) == (3072, (3, 6, 9, 12), 16)
    assert make_plan(*hippocampus).window == (40, 56, 40)


def test_a_single_label_is_not_mirrored(shared_data):
    dataset = open_dataset(shared_data / "LeftAtrium")
    cases = dataset.cases[:6]
    some = dataclasses.replace(dataset, cases=cases)
    fingerprint = measure_fingerprint(some)
    plan = make_plan(some, fingerprint, preset="paper")
    assert plan.training.augment.mirror_axes == plan.inference.mirror_axes == ()
    assert "left atrium is the only label" in plan.reasons["mirror_axes"]
    assert plan.window == (96, 96, 96)
    assert plan.training.batch_size == 1
    assert plan.spacing_mm == (0.625, 0.625, 0.625)


@pytest.mark.parametrize("layout", sorted(LAYOUTS.keys() - {"btcv"}))  # whose labels are given: test_recipes.py
def test_every_layout_gives_the_same_fingerprint(make_dataset, layout):
    dataset = open_dataset(make_dataset(layout))
    fingerprint = measure_fingerprint(dataset)
    front, back = fingerprint.labels
    # Blocks of 4x4x3 voxels of 1 mm3 in volumes of 14x12x10.
    assert (front.name, front.value, front.cases) == ("front", 1, 6)
    assert front.median_volume_ml == pytest.approx(0.048)
    assert back.voxel_fraction == pytest.approx(48 / 1680)
    # Always three voxels to the front of the middle: no deviation, so the floor of 0.01 mm divides.
    assert front.side[1] == pytest.approx(300)
    assert back.side[1] == pytest.approx(-300)
    (channel,) = fingerprint.channels.values()
    assert channel.mean == pytest.approx(100, abs=5)
    assert channel.minimum <= channel.percentile_00_5 <= channel.median <= channel.percentile_99_5 <= channel.maximum
    plan = make_plan(dataset, fingerprint)
    assert 1 not in plan.training.augment.mirror_axes
    assert plan == make_plan(dataset, measure_fingerprint(dataset))


def test_fingerprint_does_not_depend_on_how_the_scans_are_stored(make_dataset, save_scan):
    """The same anatomy, stored with other axes, has the same facts along R, A, S."""
    import nibabel

    root = make_dataset()
    before = measure_fingerprint(open_dataset(root))
    for path in [*root.glob("imagesTr/*"), *root.glob("labelsTr/*")]:
        image = nibabel.load(path)
        turned = image.as_reoriented(nibabel.orientations.axcodes2ornt(("P", "S", "L")))
        save_scan(path, np.asarray(turned.dataobj), turned.affine)
    after = measure_fingerprint(open_dataset(root))
    assert sum(after.orientations.values()) == 6
    assert "RAS" not in after.orientations
    assert after.shapes == before.shapes
    assert after.labels == before.labels
    assert after.channels == before.channels


def test_ignored_voxels_are_no_foreground(make_dataset, save_scan, edit_json):
    root = make_dataset("nnunet", 5)
    label = np.zeros((14, 12, 10), np.uint8)
    label[2:4], label[6:8], label[10:] = 1, 2, 3
    for i in range(5):
        save_scan(root / f"labelsTr/case_{i:02d}.nii.gz", label)
    edit_json(root / "dataset.json", labels={"background": 0, "a": 1, "b": 2, "ignore": 3})
    dataset = open_dataset(root)
    fingerprint = measure_fingerprint(dataset)
    assert [label.name for label in fingerprint.labels] == ["a", "b"]
    # Slabs at 2.5 and 6.5 of equal size: 2 mm either side of their middle.
    assert fingerprint.labels[0].side[0] == pytest.approx(-200)
    assert make_plan(dataset, fingerprint).ignore_label == 3


def test_windows_are_cut_where_memory_is_short(hippocampus):
    """Of 40 x 56 x 40 = 89,600 voxels there is memory for 45,000; then for next to none; then for plenty."""
    plan = make_plan(*hippocampus, preset="small")
    memory = training_memory(plan.network, plan.outputs)
    free_gb = memory.weights_gb + 45_000.5 * memory.voxel_gb
    cut = make_plan(*hippocampus, preset="small", free_gb=free_gb)
    assert cut.window == (32, 32, 40)
    assert memory.taken_gb(cut.window, 1) <= free_gb < memory.taken_gb((32, 40, 40), 1)
    assert "there is memory for 45000 voxels, where the preset has up to 262144" in cut.reasons["window"]
    least = make_plan(*hippocampus, preset="small", free_gb=0.001)
    assert least.window == (16, 16, 16)
    assert "more than the 0.0 GB that are free: close other programs" in least.reasons["training.batch_size"]
    assert make_plan(*hippocampus, preset="small", free_gb=memory.taken_gb((64, 64, 65), 1)) == plan


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("CT", "ct"),
        ("ct", "ct"),
        ("contrast CT", "ct"),
        ("ct_venous", "ct"),
        ("Computed Tomography", "ct"),
        ("FLAIR", "zscore"),
        ("perfect", "zscore"),
        ("Tract", "zscore"),
        ("noNorm", "none"),
        ("noNorm_2", "none"),
    ],
)
def test_normalisation_follows_the_name(name, kind):
    statistics = IntensityStatistics(
        minimum=-900, maximum=1500, mean=40, std=60, percentile_00_5=-80, median=45, percentile_99_5=200
    )
    plan, reason = choose_normalisation(name, statistics)
    assert plan.normalisation == kind
    assert reason
    if kind == "ct":
        assert (plan.low, plan.high, plan.mean, plan.std) == (-80, 200, 40, 60)
        flat = statistics.model_copy(update={"std": 0.0})
        assert choose_normalisation(name, flat)[0].normalisation == "zscore"


@pytest.mark.parametrize("name", PRESETS)
def test_presets_fit_their_decoder(name):
    """Decoder unetr with patch 2^t needs t taps, one a level; decoder stem takes the last block."""
    network = PRESETS[name].network
    assert network.preset == name
    assert network.taps == (network.depth,) if network.decoder == "stem" else 2 ** len(network.taps) == network.patch


def test_unknown_preset_and_foreign_fingerprint(make_dataset):
    dataset = open_dataset(make_dataset())
    fingerprint = measure_fingerprint(dataset)
    with pytest.raises(InputError, match="paper"):
        make_plan(dataset, fingerprint, preset="huge")
    other = fingerprint.model_copy(update={"channels": {"CT": fingerprint.channels["MR0"]}})
    with pytest.raises(InputError, match="measure it again"):
        make_plan(dataset, other)


def test_fingerprint_survives_json(make_dataset):
    fingerprint = measure_fingerprint(open_dataset(make_dataset()))
    assert Fingerprint.model_validate_json(fingerprint.model_dump_json()) == fingerprint


def test_template_is_a_plan_that_shows_every_default(tmp_path):
    path = tmp_path / "plan.yaml"
    path.write_text(template_plan())
    plan = read_plan(path)
    shown = yaml.safe_load(template_plan())
    assert set(shown) == set(Plan.model_fields)
    for section in ("network", "training", "inference"):
        assert shown[section].keys() == type(getattr(plan, section)).model_fields.keys()
        # What the template says to be the default is the default.
        assert getattr(plan, section) == Plan.model_fields[section].default
    assert shown["training"]["augment"].keys() == type(plan.training.augment).model_fields.keys()
    assert max(len(line) for line in template_plan().splitlines()) <= 120


@pytest.mark.parametrize("cases", [80, 208])
def test_a_budget_decides_the_augmentation_of_a_plan(hippocampus, cases):
    """60 minutes, windows of 40x56x40 at a million voxels a second: 40179 windows."""
    dataset, fingerprint = hippocampus
    plan = make_plan(dataset, fingerprint.model_copy(update={"cases": cases}), budget=Budget(60, 1e6))
    usual = PRESETS["small"].training.augment.model_copy(update={"mirror_axes": (0,)})
    assert (plan.training.augment == usual) == (cases == 208)
    assert f"60 minutes are about {40179 / cases:.2g} windows" in plan.reasons["training.augment"]


@pytest.mark.fault("dataset.json obeyed")
@pytest.mark.parametrize(("largest", "kind"), [(255, "range"), (90, "range"), (256, "zscore")])
@pytest.mark.parametrize("name", ["rgb_to_0_1", "RGB_to_0_1_2"])
def test_colours_become_0_to_1(name, largest, kind):
    """nnU-Net divides by 255 and refuses other values."""
    statistics = IntensityStatistics(
        minimum=0, maximum=largest, mean=40, std=60, percentile_00_5=1, median=45, percentile_99_5=80
    )
    plan, _ = choose_normalisation(name, statistics)
    assert (plan.normalisation, plan.low, plan.high) == ((kind, 0, 255) if kind == "range" else (kind, None, None))


@pytest.mark.fault("clipped away before training")
def test_tiny_learns_at_a_rate_for_short_trainings(hippocampus):
    """300 steps at 1e-3 leave small lesions unlearned; plans that say no rate keep that of the paper's training."""
    plan = make_plan(*hippocampus, preset="tiny")
    assert plan.training.learning_rate == 5e-3 and "5e-3" in plan.reasons["network"]
    assert TrainingPlan().learning_rate == make_plan(*hippocampus, preset="paper").training.learning_rate == 1e-3
    assert plan.training.model_copy(update={"learning_rate": 1e-3, "batch_size": 2}) == TrainingPlan(
        augment=plan.training.augment
    )
