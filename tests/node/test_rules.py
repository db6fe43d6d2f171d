"""Which series a rule takes, and what it says of the others."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from unetr.node.rules import Rule, Size, When, mismatch

TRAITS = {
    "Modality": "MR",
    "SeriesDescription": "Sag T1 MPRAGE",
    "BodyPartExamined": "BRAIN",
    "Manufacturer": "SIEMENS",
    "ImageType": "ORIGINAL\\PRIMARY\\M",
    "Rows": "256",
    "Columns": "192",
}
SIZE = Size(160, (1.0, 1.0, 1.2))


@pytest.mark.parametrize(
    "when",
    [
        {},
        {"modality": "mr"},
        {"modality": ["CT", "MR"]},
        {"description": "*T1*"},
        {"description": "/mp.?rage/"},
        {"description": ["*t1*", "!*loc*"]},
        {"description": "!*loc*"},
        {"image_type": "PRIMARY"},
        {"station": "!CT*"},
        {"contrast": False},
        {"matrix_at_least": 192},
        {"slices_at_least": 160, "slices_at_most": 160},
        {"spacing_at_most_mm": 1.2},
    ],
)
def test_a_series_that_is_asked_for(when: dict[str, Any]) -> None:
    assert mismatch(When.model_validate(when), TRAITS, SIZE) is None


@pytest.mark.parametrize(
    ("when", "key"),
    [
        ({"modality": "CT"}, "modality"),
        ({"modality": "M"}, "modality"),  # the whole of it, not a part
        ({"description": ["*T1*", "!*mprage*"]}, "description"),
        ({"description": "/^T1/"}, "description"),
        ({"description": "T[2]*"}, "description"),
        ({"station": "CT*"}, "station"),
        ({"contrast": True}, "contrast"),
        ({"matrix_at_least": 193}, "matrix_at_least"),
        ({"slices_at_least": 161}, "slices_at_least"),
        ({"slices_at_most": 159}, "slices_at_most"),
        ({"spacing_at_most_mm": 1.1}, "spacing_at_most_mm"),
    ],
)
def test_a_series_that_is_not(when: dict[str, Any], key: str) -> None:
    said = mismatch(When.model_validate(when), TRAITS, SIZE)
    assert said is not None and said.startswith(f"{key}: expected ")
    # Headers are free text, in which somebody may have written a name.
    assert "MPRAGE" not in said and "SIEMENS" not in said


def test_sizes_do_not_count_before_they_are_known() -> None:
    assert mismatch(When(slices_at_least=10**6), TRAITS) is None


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "either `when` or `channels`"),
        ({"when": {}, "channels": [{"name": "a", "when": {}}, {"name": "b", "when": {}}]}, "either `when`"),
        ({"channels": [{"name": "a", "when": {}}]}, "`channels` has one entry"),
        ({"channels": [{"name": "a", "when": {}}, {"name": "a", "when": {}}]}, "one name"),
        ({"when": {"description": "/(/"}}, "is no regular expression"),
        ({"when": {"description": ""}}, "a pattern has"),
        ({"when": {"describtion": "x"}}, "Extra inputs"),
    ],
)
def test_rules_that_cannot_be(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Rule.model_validate({"name": "r", "model": "m"} | given)
