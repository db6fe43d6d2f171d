"""Verdicts: silent on real scans that were left out of the fingerprint, in words on each kind of wrong scan."""

from __future__ import annotations

import dataclasses
import time
from itertools import permutations, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.infer.verdict_scans import CT, MR, assert_warns, keep, known_scans, model_of, noise, rotated

from unetr.core.plan.fingerprint import Fingerprint
from unetr.core.plan.schema import ChannelPlan, Plan
from unetr.core.space.volume import Volume
from unetr.infer.verdict import Verdict, judge
from unetr.io import read_volume
from unetr.prepare.measure.scan_facts import oblique_degrees

LEFT_ATRIA = 20


@pytest.fixture(scope="module")
def hippocampus(shared_data: Path) -> tuple[list[Volume], Plan, Fingerprint]:
    return known_scans(shared_data / "Task04_Hippocampus")


@pytest.fixture(scope="module")
def torso(shared_data: Path) -> Volume:
    return read_volume(shared_data / "ct" / "torso_3mm.nii.gz")


@pytest.fixture(scope="module")
def abdomen(shared_data: Path) -> Volume:
    return read_volume(shared_data / "ct" / "abdomen_3mm.nii.gz")


@pytest.fixture(scope="module")
def ct_model(torso: Volume, abdomen: Volume) -> tuple[Plan, Fingerprint]:
    return model_of(torso, abdomen, channel=CT)


@pytest.fixture(scope="module")
def mr_model() -> tuple[Plan, Fingerprint]:
    return model_of(noise(seed=1), noise(seed=2), channel=MR)


def test_hippocampi_left_out_one_by_one_are_ok(hippocampus: tuple[list[Volume], Plan, Fingerprint]):
    """Including when only ten others are known. At most 2 % false warnings were allowed; there are none."""
    scans, plan, fingerprint = hippocampus
    everyone = range(len(scans))
    rng = np.random.default_rng(0)
    for left_out, scan in enumerate(scans):
        others = [index for index in everyone if index != left_out]
        assert judge(scan, plan, keep(fingerprint, others)) == Verdict("ok", ())
        few = rng.choice(others, 10, replace=False).tolist()
        assert judge(scan, plan, keep(fingerprint, few)) == Verdict("ok", ())


def test_left_atria_left_out_one_by_one_are_ok(shared_data: Path):
    scans, plan, fingerprint = known_scans(shared_data / "LeftAtrium", LEFT_ATRIA)
    for left_out, scan in enumerate(scans):
        others = [index for index in range(len(scans)) if index != left_out]
        assert judge(scan, plan, keep(fingerprint, others)) == Verdict("ok", ())


def test_a_wrong_spacing_is_told(hippocampus: tuple[list[Volume], Plan, Fingerprint]):
    scans, plan, fingerprint = hippocampus
    coarse = dataclasses.replace(scans[0], affine=scans[0].affine @ np.diag([4, 4, 4, 1]))
    verdict = judge(coarse, plan, fingerprint)
    assert_warns(verdict, "4 mm left-right (training scans 1 mm, expected 0.3333 to 1.5 mm)", "field of view")
    slices = dataclasses.replace(scans[0], affine=scans[0].affine @ np.diag([1, 1, 1.6, 1]))
    assert_warns(judge(slices, plan, fingerprint), "voxel spacing: 1.6 mm up-down")
    at_limit = dataclasses.replace(scans[0], affine=scans[0].affine @ np.diag([1, 1, np.float32(1.5) + 1e-6, 1]))
    assert judge(at_limit, plan, fingerprint).state == "ok"


def test_a_torso_is_no_hippocampus(hippocampus: tuple[list[Volume], Plan, Fingerprint], torso: Volume):
    _, plan, fingerprint = hippocampus
    assert_warns(
        judge(torso, plan, fingerprint),
        "voxel spacing: 3 mm left-right",
        "field of view: 366 mm left-right (training scans 31 to 43 mm, expected 15.5 to 86 mm)",
        "is it a CT?",
    )


@pytest.mark.parametrize("folder", ["Task04_Hippocampus", "LeftAtrium"])
def test_a_label_map_is_no_scan(
    hippocampus: tuple[list[Volume], Plan, Fingerprint], shared_data: Path, folder: str, torso: Volume
):
    _, plan, fingerprint = hippocampus
    for path in sorted((shared_data / folder / "labelsTr").glob("*.nii.gz"))[:5]:
        for known in (fingerprint, None):
            assert "is it a label map" in judge(read_volume(path), plan, known).warnings[-1]
    assert_warns(judge(torso.with_data((torso.data > 0).astype(np.uint8)), plan, None), "is it a label map")


def test_a_ct_is_told_from_what_is_no_ct(
    ct_model: tuple[Plan, Fingerprint], torso: Volume, abdomen: Volume, shared_data: Path
):
    """Each of the CTs is sound also for a model of the others; the errors are seen even by a model of both."""
    fine = read_volume(shared_data / "ct" / "torso_1.5mm.nii.gz")
    assert judge(fine, *ct_model) == Verdict("ok", ())
    assert judge(abdomen, *model_of(torso, channel=CT)).warnings[0].startswith("field of view: 90 mm up-down")
    assert judge(torso, *model_of(fine, channel=CT)).warnings == (
        "voxel spacing: 3 mm left-right (training scans 1.5 mm, expected 0.5 to 2.25 mm), 3 mm front-back (training "
        "scans 1.5 mm, expected 0.5 to 2.25 mm), 3 mm up-down (training scans 1.5 mm, expected 0.5 to 2.25 mm)",
    )
    for scan in (torso, abdomen, fine):
        hounsfield = np.clip(scan.data.astype(np.float32), -1024, 3071)
        wrong = {
            "offset": hounsfield + 1024,
            "offset twice": hounsfield - 1024,
            "bytes": np.clip((hounsfield + 160) / 400 * 255, 0, 255).astype(np.uint8),
            "0 to 1": (hounsfield + 1024) / 4095,
            "times ten": hounsfield * 10,
        }
        for kind, data in wrong.items():
            verdict = judge(scan.with_data(data), *ct_model)
            assert len(verdict.warnings) == 1, (kind, verdict)
            assert "is it in the same units?" in verdict.warnings[0], kind


def test_metal_and_padding_that_the_plan_clips_are_no_reason(ct_model: tuple[Plan, Fingerprint], torso: Volume):
    data = torso.data.astype(np.int16)
    data[:, :4] = -3024
    data[:, 50:70, 40:70, 40:80] = 3071  # 1.7 % of the voxels
    assert judge(torso.with_data(data), *ct_model).state == "ok"


def test_a_hippocampus_is_no_ct(
    ct_model: tuple[Plan, Fingerprint], hippocampus: tuple[list[Volume], Plan, Fingerprint]
):
    for scan in hippocampus[0][:30]:
        warnings = judge(scan, *ct_model).warnings
        assert any("field of view" in warning for warning in warnings)
        assert any("is it in the same units?" in warning for warning in warnings)


def test_a_scale_that_training_did_not_have(mr_model: tuple[Plan, Fingerprint]):
    """Units that mean something are compared; arbitrary ones are not."""
    scan = noise(seed=3)
    for factor in (0.001, 100.0):
        other = scan.with_data((scan.data * factor).astype(np.float32))
        assert judge(other, *mr_model).state == "ok"
        for channel in (
            ChannelPlan(name="MR", normalisation="range", low=0, high=600),
            ChannelPlan(name="MR", normalisation="none"),
        ):
            fixed = model_of(noise(seed=1), noise(seed=2), channel=channel)
            assert judge(scan, *fixed).state == "ok"
            assert_warns(judge(other, *fixed), "is it in the same units?")


def test_a_clipped_scan_of_another_scale():
    """Training had voxels above the plan's limit, so that metal is no reason; twenty times the width is."""
    channel = ChannelPlan(name="MR", normalisation="range", low=0, high=300)
    model = model_of(noise(seed=1), noise(seed=2), channel=channel)
    scan = noise(seed=3)
    # From 0 up as in training, where the darkest voxels say nothing.
    scaled = ((scan.data.astype(np.float32) - scan.data.min()) * 20).astype(np.int16)
    bright = np.where(scan.data > 250, 1500, scan.data).astype(np.int16)
    assert judge(scan.with_data(bright), *model).state == "ok"
    assert_warns(judge(scan.with_data(scaled), *model), "the voxels span")


def test_empty_and_inverted_scans(mr_model: tuple[Plan, Fingerprint]):
    scan = noise(seed=3)
    few = np.zeros_like(scan.data)
    few[..., :2, :2, :2] = scan.data[..., :2, :2, :2]
    few[..., -1, -1, -1] = 1
    assert_warns(judge(scan.with_data(few), *mr_model), "of the voxels are zero")
    inverted = scan.data.max() - scan.data
    assert_warns(judge(scan.with_data(inverted), *mr_model), "of the way from darkest to brightest")


def test_scans_like_the_training_scans_are_no_reason_however_odd():
    """A model of binary images, nearly all zero, is content with them."""
    binary = Volume(np.zeros((1, 40, 40, 40), dtype=np.uint8), np.eye(4))
    binary.data[:, :30, :3, :3] = binary.data[:, -1, -1, -1] = 1
    assert judge(binary, *model_of(binary, channel=MR)).state == "ok"
    assert judge(binary, *model_of(noise(), channel=MR)).state == "warned"


def test_the_storage_order_says_nothing(mr_model: tuple[Plan, Fingerprint]):
    """Over all 48 orders the verdict is the same, for a sound scan and for one with thick slices."""
    scan = noise(seed=3)
    for spacing, expected in ((1.0, 0), (1.7, 1)):
        found = set()
        for order in permutations(range(3)):
            for signs in product((1, -1), repeat=3):
                columns = np.diag([1.0, 1.0, spacing])[:, order] * signs
                affine = np.eye(4)
                affine[:3, :3] = columns
                turned = np.flip(scan.data[0].transpose(order), [i for i in range(3) if signs[i] < 0])
                found.add(judge(Volume(turned[None], affine), *mr_model))
        assert len(found) == 1
        assert len(found.pop().warnings) == expected


@pytest.mark.parametrize(("degrees", "expected"), [(0, 0), (14, 14), (44, 44), (60, 30), (90, 0), (180, 0), (-100, 10)])
def test_angles(degrees: float, expected: float):
    assert oblique_degrees(rotated(degrees) @ np.diag([0.5, 2, 3, 1])) == pytest.approx(expected, abs=0.01)


def test_a_tilt_beyond_training_is_told(mr_model: tuple[Plan, Fingerprint]):
    scan = noise(seed=3)
    assert judge(dataclasses.replace(scan, affine=rotated(19)), *mr_model).state == "ok"
    assert_warns(
        judge(dataclasses.replace(scan, affine=rotated(25)), *mr_model), "tilt: the scan's axes are 25 degrees"
    )
    tilted = dataclasses.replace(noise(seed=1), affine=rotated(20))
    # Training scans at 20 degrees, turned by up to 15 more.
    assert judge(dataclasses.replace(scan, affine=rotated(34)), *model_of(tilted, channel=MR)).state == "ok"


def test_what_is_not_known_is_said(mr_model: tuple[Plan, Fingerprint]):
    plan, fingerprint = mr_model
    scan = noise(seed=3)
    assert judge(scan, plan, None).state == "unknown"
    assert "no fingerprint" in judge(scan, plan, None).warnings[0]
    # A fingerprint of before scans were kept in it, as JSON without the new keys.
    old = Fingerprint.model_validate(fingerprint.model_dump(exclude={"scans", "oblique_degrees"}))
    assert judge(scan, plan, old).state == "unknown"
    coarse = dataclasses.replace(scan, affine=np.diag([1.0, 1.0, 9.0, 1.0]))
    assert_warns(judge(coarse, plan, old), "voxel spacing: 9 mm up-down", "field of view")


def test_the_plans_own_limits_without_a_fingerprint(torso: Volume):
    plan, _ = model_of(torso, channel=CT)
    assert judge(torso, plan, None).state == "unknown"
    unit = ((torso.data.astype(np.float32) + 1024) / 4095).clip(0, 1)
    assert_warns(judge(torso.with_data(unit), plan, None), "nearly all voxels are")
    assert_warns(judge(torso.with_data(unit + 400), plan, None), "99 % of the voxels are")


def test_other_channels_than_the_plans_are_refused(mr_model: tuple[Plan, Fingerprint]):
    scan = noise()
    with pytest.raises(ValueError, match="zip"):
        judge(scan.with_data(np.concatenate([scan.data, scan.data])), *mr_model)


@pytest.mark.parametrize("order", ["C", "F"])
def test_a_large_scan_is_judged_at_once(ct_model: tuple[Plan, Fingerprint], order: Any):
    """512x512x300: 0.05 s measured, 0.2 s wanted; the bound allows for a busy machine."""
    data = np.random.default_rng(0).integers(-1024, 900, (1, 512, 512, 300), dtype=np.int16)
    scan = Volume(np.asarray(data, order=order), np.diag([0.8, 0.8, 1.0, 1.0]))
    before = time.process_time()
    judge(scan, *ct_model)
    assert time.process_time() - before < 0.6
