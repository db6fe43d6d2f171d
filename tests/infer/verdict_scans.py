"""Scans, and plans with the fingerprints of scans, for the tests of verdicts."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unetr.core.plan.fingerprint import Fingerprint, ScanStatistics
from unetr.core.plan.schema import ChannelPlan, Plan
from unetr.core.space.volume import Volume
from unetr.infer.verdict import Verdict
from unetr.io import read_volume
from unetr.prepare.datasets.cases import open_dataset
from unetr.prepare.measure.fingerprint import measure_fingerprint
from unetr.prepare.measure.scan_facts import scan_facts
from unetr.prepare.planning.planner import make_plan


def keep(fingerprint: Fingerprint, indices: Sequence[int]) -> Fingerprint:
    """The fingerprint of some of its cases, as far as a verdict looks at it."""

    def some(values: list[Any]) -> list[Any]:
        return [values[index] for index in indices]

    scans = {
        name: ScanStatistics(**{field: some(values) for field, values in statistics.model_dump().items()})
        for name, statistics in fingerprint.scans.items()
    }
    return fingerprint.model_copy(
        update={
            "shapes": some(fingerprint.shapes),
            "spacings_mm": some(fingerprint.spacings_mm),
            "oblique_degrees": some(fingerprint.oblique_degrees),
            "scans": scans,
        }
    )


def known_scans(root: Path, most: int | None = None) -> tuple[list[Volume], Plan, Fingerprint]:
    dataset = open_dataset(root)
    dataset = dataclasses.replace(dataset, cases=dataset.labelled[:most])
    fingerprint = measure_fingerprint(dataset)
    return [read_volume(case.images[0]) for case in dataset.cases], make_plan(dataset, fingerprint), fingerprint


def model_of(*scans: Volume, channel: ChannelPlan) -> tuple[Plan, Fingerprint]:
    """A plan and fingerprint as if trained on these scans; what a verdict does not look at is made up."""
    facts = [scan_facts(scan) for scan in scans]
    fingerprint = Fingerprint.model_validate(
        {
            "dataset": "d",
            "cases": len(scans),
            "shapes": [[round(n / mm) for n, mm in zip(f.field_mm, f.spacing_mm, strict=True)] for f in facts],
            "spacings_mm": [f.spacing_mm for f in facts],
            "orientations": {"RAS": len(scans)},
            "channels": {},
            "labels": [],
            "intensity_scale_spread": 1.0,
            "scans": {
                channel.name: {
                    "percentiles": [f.channels[0].percentiles for f in facts],
                    "zero_fractions": [f.channels[0].zero_fraction for f in facts],
                    "flat_fractions": [f.channels[0].flat_fraction for f in facts],
                }
            },
            "oblique_degrees": [f.oblique_degrees for f in facts],
        }
    )
    plan = Plan(
        dataset="d",
        channels=(channel,),
        labels={"background": 0, "organ": 1},
        spacing_mm=(3.0, 3.0, 3.0),
        window=(32, 32, 32),
    )
    return plan, fingerprint


CT = ChannelPlan(name="CT", normalisation="ct", low=-100.0, high=300.0, mean=80.0, std=70.0)


def noise(shape: tuple[int, int, int] = (40, 44, 36), seed: int = 0) -> Volume:
    """An MR-like scan: a bright blob in a dim noisy field, from 0 up."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij"))
    data = 400 * np.exp(-2 * (grid**2).sum(axis=0)) + np.abs(rng.normal(0, 30, shape)) + 1
    return Volume(data[None].astype(np.int16), np.eye(4))


MR = ChannelPlan(name="MR")


def assert_warns(verdict: Verdict, *said: str) -> None:
    """One warning per entry, in this order, each of one line that contains it."""
    assert verdict.state == "warned"
    assert len(verdict.warnings) == len(said), verdict.warnings
    for warning, part in zip(verdict.warnings, said, strict=True):
        assert part in warning, warning
        assert "\n" not in warning


def rotated(degrees: float) -> np.ndarray:
    angle = np.radians(degrees)
    affine = np.eye(4)
    affine[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return affine
