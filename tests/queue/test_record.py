"""A job's key: whatever would change the result changes it, and nothing else does."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest

from unetr.queue.record import JobSpec, Settings

SPEC = JobSpec(scan="a" * 32, model="hippocampus", model_sha256="b" * 64, version="1")
# Of each field another value than SPEC's.
OTHERS: dict[str, Any] = {"scan": "c" * 32, "model_sha256": "d" * 64, "version": "2", "settings": Settings(tta=True)}
OTHER_SETTINGS: dict[str, Any] = {
    "tta": True,
    "uncertainty": True,
    "strict": True,
    "assume_affine": True,
    "series": ("1.2.3",),
    "forms": ("dicom-seg",),
}


def test_the_names_below_are_all_fields() -> None:
    assert set(OTHERS) | {"model"} == {each.name for each in fields(JobSpec)}
    assert set(OTHER_SETTINGS) == {each.name for each in fields(Settings)}


@pytest.mark.parametrize("name", OTHERS)
def test_other_work_is_another_job(name: str) -> None:
    other = replace(SPEC, **{name: OTHERS[name]})
    assert other.key != SPEC.key and other.id != SPEC.id


@pytest.mark.parametrize("name", OTHER_SETTINGS)
def test_each_setting_makes_another_job(name: str) -> None:
    other = replace(SPEC, settings=Settings(**{name: OTHER_SETTINGS[name]}))
    assert other.key != SPEC.key and other.id != SPEC.id


def test_the_order_of_channels_counts_and_a_models_name_does_not() -> None:
    there, back = (replace(SPEC, settings=Settings(series=series)) for series in (("1", "2"), ("2", "1")))
    assert there.key != back.key
    assert replace(SPEC, model="renamed").key == replace(SPEC).key
