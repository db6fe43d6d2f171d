"""Names of labels as codes: against codes of SNOMED CT written down by hand, and what any name must give."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unetr.io.dicom.results import codes as segment_codes
from unetr.io.dicom.results.codes import segment_code

LEFT, RIGHT = "7771000", "24028007"
SNOMED = {
    "liver": "10200004",
    "Spleen": "78961009",
    "kidney": "64033007",
    "pancreas": "15776009",
    "stomach": "69695003",
    "gallbladder": "28231008",
    "oesophagus": "32849002",
    "esophagus": "32849002",
    "heart": "80891009",
    "lung": "39607008",
    "aorta": "15825003",
    "brain": "12738006",
}


@pytest.mark.parametrize("name", SNOMED)
def test_organs_have_snomed_codes(name: str) -> None:
    code = segment_code(name)
    assert (code.type.scheme_designator, code.type.value) == ("SCT", SNOMED[name])
    assert not code.is_own and code.is_anatomy and code.modifiers == ()


@pytest.mark.parametrize(
    ("name", "side"),
    [("kidney_left", LEFT), ("Left kidney", LEFT), ("right-kidney", RIGHT), ("KIDNEY (right)", RIGHT)],
)
def test_a_side_is_a_modifier(name: str, side: str) -> None:
    code = segment_code(name)
    assert code.type.value == SNOMED["kidney"] and [each.value for each in code.modifiers] == [side]


def test_the_side_of_a_chamber_is_not_a_modifier() -> None:
    code = segment_code("heart_atrium_left")
    assert code == segment_code("left atrium") and code.modifiers == () and not code.is_own
    assert segment_code("right left atrium").is_own and segment_code("left left kidney").is_own


@pytest.mark.parametrize("name", ["kidney tumor bed", "liver x", "left", "label 7", "lebre", "", "left right kidney"])
def test_no_guess_is_made_from_parts_of_a_name(name: str) -> None:
    code = segment_code(name)
    assert code.is_own and not code.is_anatomy and code.type.scheme_designator == "99UNETR"
    assert code.modifiers == () and code.type.meaning == (name or "label")


def test_tissue_and_lesions_are_not_anatomy() -> None:
    for name in ("tumour", "oedema", "white matter", "csf"):
        assert not segment_code(name).is_own and not segment_code(name).is_anatomy


def test_every_name_of_the_table_is_found_in_the_dictionary_of_the_standard() -> None:
    names = [name for table in segment_codes._KNOWN.values() for known in table.values() for name in known]
    assert len(names) == len(set(names)), "a name with two codes"
    assert not [name for name in names if segment_code(name).is_own]


@given(st.text(max_size=100))
def test_any_name_has_a_code_that_dicom_can_hold(name: str) -> None:
    code = segment_code(name)
    assert code == segment_code(name)
    assert 1 <= len(code.type.value) <= 16 and 1 <= len(code.type.meaning) <= 64
    assert "\\" not in code.type.meaning and code.type.meaning.isprintable()


def test_own_names_have_different_codes() -> None:
    names = [f"structure {index}" for index in range(200)] + ["---", "///"]
    assert len({segment_code(name).type.value for name in names}) == len(names)
