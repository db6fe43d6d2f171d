"""Removal rules against hand-made volumes, against scipy's components, and as properties."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from scipy import ndimage

from unetr.core.plan.file import parse_plan, plan_to_yaml, read_plan
from unetr.core.plan.schema import ChannelPlan, Plan, Region
from unetr.errors import InputError
from unetr.infer.rules import apply_rules, extent_values

# As in BraTS: whole tumour > core > enhancing, written so that the file tells edema, necrosis and enhancing apart.
TUMOUR = (
    Region(name="WT", labels=(1, 2, 3), written_as=1),
    Region(name="TC", labels=(2, 3), written_as=2),
    Region(name="ET", labels=(3,), written_as=3),
)
CORNERS = np.ones((3, 3, 3), dtype=bool)
LABELS = {"background": 0, "liver": 1, "spleen": 5, "vessel": 2}
Rules = dict[str, dict[str, Any]]


def plan(rules: Rules, regions: tuple[Region, ...] = (), labels: dict[str, int] | None = None) -> Plan:
    return Plan(
        dataset="d",
        channels=(ChannelPlan(name="CT"),),
        labels=labels or ({"background": 0, "ed": 1, "ncr": 2, "et": 3} if regions else LABELS),
        regions=regions,
        spacing_mm=(1.0, 1.0, 1.0),
        window=(16, 16, 16),
        postprocess=rules,  # type: ignore[arg-type]
    )


def row(text: str) -> np.ndarray:
    """ "11.2" -> a volume of one row along z; a dot is background."""
    return np.array([0 if c == "." else int(c) for c in text], dtype=np.uint8).reshape(1, 1, -1)


def shown(labels: np.ndarray) -> str:
    return "".join("." if value == 0 else str(value) for value in labels.ravel())


@pytest.mark.parametrize(
    ("rules", "before", "after"),
    [
        ({}, "1.11.5.55", "1.11.5.55"),
        ({"liver": {}}, "1.11.5.55", "1.11.5.55"),
        ({"liver": {"largest_component": True}}, "1.11.5.55", "..11.5.55"),
        ({"liver": {"largest_component": True}, "spleen": {"largest_component": True}}, "1.11.5.55", "..11...55"),
        # Components of one class may touch another: only their own voxels count.
        ({"liver": {"largest_component": True}}, "115555111", "..5555111"),
        # A tie goes to the first in index order.
        ({"liver": {"largest_component": True}}, "1.22.11.11", "..22.11..."),
        ({"liver": {"minimum_volume_ml": 0.002}}, "1.11.111", "..11.111"),
        ({"liver": {"minimum_volume_ml": 0.0021}}, "1.11.111", ".....111"),
        # The largest one falls to the minimum as well.
        ({"liver": {"minimum_volume_ml": 1, "largest_component": True}}, "1.11.111", "........"),
        ({"vessel": {"largest_component": True}}, "1.11.111", "1.11.111"),
    ],
)
def test_classes_by_hand(rules: Rules, before: str, after: str):
    labels = row(before)
    result = apply_rules(labels, plan(rules), voxel_ml=0.001)
    assert shown(result) == after
    assert result.dtype == labels.dtype
    assert shown(labels) == before


@pytest.mark.parametrize(
    ("rules", "before", "after"),
    [
        # A removed enhancing part is core, a removed core is tumour, a removed tumour is background.
        ({"ET": {"minimum_volume_ml": 0.002}}, "1123211332", "1122211332"),
        ({"TC": {"minimum_volume_ml": 0.004}}, "1123211.12332", "1111111.12332"),
        ({"WT": {"largest_component": True}}, "112.1123321.33", "....1123321..."),
        ({"ET": {"largest_component": True}}, "133112331.3", "133112221.2"),
        # The whole tumour goes first: what is left of the enhancing part is in the tumour that stayed.
        ({"ET": {"largest_component": True}, "WT": {"largest_component": True}}, "333..1111131", ".....1111131"),
        # A tumour's extent holds its core, so that the core does not cut it in two.
        ({"WT": {"largest_component": True}}, "11221.111", "11221...."),
    ],
)
def test_regions_by_hand(rules: Rules, before: str, after: str):
    assert shown(apply_rules(row(before), plan(rules, TUMOUR), voxel_ml=0.001)) == after


def test_overlapping_regions_without_nesting_keep_to_their_own_values():
    regions = (Region(name="a", labels=(1, 2), written_as=1), Region(name="b", labels=(2, 3), written_as=2))
    assert extent_values(plan({}, regions)) == {"a": (1,), "b": (2,)}
    result = apply_rules(row("1.112.2"), plan({"a": {"largest_component": True}}, regions), voxel_ml=1)
    assert shown(result) == "..112.2"


def test_extents():
    assert extent_values(plan({}, TUMOUR)) == {"WT": (1, 2, 3), "TC": (2, 3), "ET": (3,)}
    assert extent_values(plan({})) == {"liver": (1,), "vessel": (2,), "spleen": (5,)}


def test_voxels_that_touch_at_a_corner_are_one_component():
    labels = np.zeros((4, 4, 4), dtype=np.uint8)
    for i in range(4):
        labels[i, i, i] = 1
    assert np.array_equal(apply_rules(labels, plan({"liver": {"largest_component": True}}), 1.0), labels)


def test_the_minimum_itself_is_kept_in_spite_of_rounding():
    """1000 voxels of 0.1 mm are 0.001 ml, here a hundred-millionth less."""
    labels = np.ones((10, 10, 10), dtype=np.uint8)
    voxel_ml = 1e-6 * (1 - 1e-8)
    assert apply_rules(labels, plan({"liver": {"minimum_volume_ml": 0.001}}), voxel_ml).all()
    assert not apply_rules(labels, plan({"liver": {"minimum_volume_ml": 0.00101}}), voxel_ml).any()


def oracle(labels: np.ndarray, rules: Rules, voxel_ml: float) -> np.ndarray:
    """Class by class over the whole volume with scipy, whose components are numbered in index order."""
    result = labels.copy()
    for name, rule in rules.items():
        components, count = ndimage.label(labels == LABELS[name], structure=CORNERS)
        sizes = [int((components == number).sum()) for number in range(1, count + 1)]
        for number, size in enumerate(sizes, start=1):
            largest = size == max(sizes) and sizes.index(size) == number - 1
            too_small = size * voxel_ml < rule.get("minimum_volume_ml", 0)
            if too_small or (rule.get("largest_component") and not largest):
                result[components == number] = 0
    return result


volumes = npst.arrays(
    np.uint8,
    npst.array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=7),
    # Mostly background, so that there are components.
    elements=st.sampled_from([0, 0, 0, 0, 1, 2, 5]),
    fill=st.nothing(),
)
rule = st.fixed_dictionaries(
    {"largest_component": st.booleans(), "minimum_volume_ml": st.sampled_from([0, 0.25, 0.5, 1.0])}
)


@settings(deadline=None)
@given(volumes, st.dictionaries(st.sampled_from(["liver", "spleen", "vessel"]), rule), st.booleans())
def test_classes_against_scipy(labels: np.ndarray, rules: Rules, fortran: bool):
    stored = np.asfortranarray(labels) if fortran else labels
    result = apply_rules(stored, plan(rules), voxel_ml=0.125)
    assert np.array_equal(result, oracle(labels, rules, 0.125))
    assert np.array_equal(apply_rules(result, plan(rules), voxel_ml=0.125), result)
    changed = result != labels
    assert not result[changed].any()
    assert set(np.unique(labels[changed])) <= {LABELS[name] for name in rules}


tumours = npst.arrays(
    np.uint8,
    npst.array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=7),
    elements=st.sampled_from([0, 0, 0, 1, 2, 3]),
    fill=st.nothing(),
)


@settings(deadline=None)
@given(tumours, st.dictionaries(st.sampled_from(["WT", "TC", "ET"]), rule))
def test_nested_regions_lose_voxels_only(labels: np.ndarray, rules: Rules):
    rules_plan = plan(rules, TUMOUR)
    result = apply_rules(labels, rules_plan, voxel_ml=0.125)
    assert np.array_equal(apply_rules(result, rules_plan, voxel_ml=0.125), result)
    for name, values in extent_values(rules_plan).items():
        before, after = np.isin(labels, values), np.isin(result, values)
        assert not (after & ~before).any()
        _, count = ndimage.label(after, structure=CORNERS)
        if name in rules and rules[name]["largest_component"]:
            assert count <= 1
        # A region only changes by its own rules and those of the regions around it.
        around = {"WT": {"WT"}, "TC": {"WT", "TC"}, "ET": {"WT", "TC", "ET"}}[name]
        if not around & set(rules):
            assert np.array_equal(before, after)


def test_more_components_than_a_byte_counts_and_large_values():
    """A grid of 8000 single voxels and one pair, with a value that needs 16 bits."""
    labels = np.zeros((60, 60, 60), dtype=np.uint16)
    labels[::3, ::3, ::3] = 300
    labels[30, 30, 31] = 300
    result = apply_rules(
        labels, plan({"node": {"largest_component": True}}, labels={"background": 0, "node": 300}), voxel_ml=1.0
    )
    assert np.argwhere(result).tolist() == [[30, 30, 30], [30, 30, 31]]


def test_rules_are_checked_with_the_plan(tmp_path):
    for rules, regions, said in (
        ({"background": {"largest_component": True}}, (), "liver, vessel, spleen"),
        ({"ed": {"largest_component": True}}, TUMOUR, "WT, TC, ET"),
        ({"liver": {"minimum_volume": 1}}, (), "unknown key"),
        ({"liver": {"minimum_volume_ml": -1}}, (), "minimum_volume_ml"),
    ):
        data = plan({}, regions).model_dump(mode="json") | {"postprocess": rules}
        with pytest.raises(InputError, match=said):
            parse_plan(data, "plan.yaml")
    written = tmp_path / "plan.yaml"
    expected = plan({"liver": {"largest_component": True, "minimum_volume_ml": 0.5}})
    written.write_text(plan_to_yaml(expected))
    assert read_plan(written) == expected
    # Plans from before there were rules.
    old = plan({}).model_dump(mode="json")
    del old["postprocess"]
    assert parse_plan(old, "old.yaml") == plan({})
