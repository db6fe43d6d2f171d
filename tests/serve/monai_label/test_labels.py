"""What clients are sent has no gaps, and what they send back is understood by the names of its segments."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from unetr.core.space.volume import Volume
from unetr.errors import InputError
from unetr.serve.monai_label import labels

VALUES = {"liver": 3, "kidney": 7, "spleen": 300}


def volume(*values: int) -> Volume:
    data = np.zeros((1, 4, 3, 2), np.uint16)
    data.flat[: len(values)] = values
    affine = np.array([[0, 2, 0, 5], [-1, 0, 0, 6], [0, 0, 3, 7], [0, 0, 0, 1]], float)
    return Volume(data, affine)


def test_a_label_that_does_not_occur_leaves_no_gap() -> None:
    numbered = labels.that_occur(volume(3, 300, 300), VALUES)
    assert numbered.names == {"liver": 1, "spleen": 2}
    assert numbered.volume.data.dtype == np.uint8
    assert numbered.volume.data.ravel()[:4].tolist() == [1, 2, 2, 0]


def test_nothing_found_is_told_as_nothing() -> None:
    numbered = labels.that_occur(volume(), VALUES)
    assert numbered.names == {} and not numbered.volume.data.any()


def test_ohif_gets_the_numbers_of_info() -> None:
    numbered = labels.renumbered(volume(3, 300, 7), VALUES)
    assert numbered.names == {"liver": 1, "kidney": 2, "spleen": 3}
    assert numbered.volume.data.ravel()[:4].tolist() == [1, 3, 2, 0]


@pytest.mark.parametrize("compressed", [True, False])
def test_itk_reads_the_nrrd_at_its_place(tmp_path: Path, compressed: bool) -> None:
    sent = labels.renumbered(volume(3, 300, 7), VALUES).volume
    labels.write(tmp_path / "x.nrrd", sent, compressed=compressed)
    image = SimpleITK.ReadImage(str(tmp_path / "x.nrrd"))
    assert np.array_equal(SimpleITK.GetArrayFromImage(image).T, sent.data[0])
    for index in ((0, 0, 0), (3, 2, 1)):
        right, anterior, superior = (sent.affine @ [*index, 1])[:3]
        assert image.TransformIndexToPhysicalPoint(index) == pytest.approx((-right, -anterior, superior))


def test_segments_are_understood_by_name_in_their_order() -> None:
    told = [{"name": "spleen", "idx": 2}, {"name": "liver", "idx": 4}]
    assert labels.meant_values(told, VALUES) == (0, 300, 3)
    for unknown in ({"name": "tumour"}, {"name": 5}, {}, "liver"):
        with pytest.raises(InputError, match="that the model lacks"):
            labels.meant_values([unknown], VALUES)  # type: ignore[list-item]
