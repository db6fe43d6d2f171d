"""The overlay picture: where colour is, judged by the pixels of the finished PNG."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest

from unetr.core.colours import class_colour, rgb
from unetr.core.space.volume import Volume
from unetr.draw.overlay import VIEWS, busiest_slices, outline, overlay_png, ras_view, view_slice

SHAPE = (40, 60, 50)
NAMES = {"background": 0, "first": 1, "second": 2}


def grey(shape=SHAPE):
    return np.random.default_rng(0).normal(100, 5, shape).astype(np.float32)


def panels(pixels, rows=1):
    """Cuts the picture into its panels by the grey scan in it: [(top, bottom, left, right)], row by row."""
    colour = pixels[..., :3]
    dark = np.abs(colour - np.array(rgb("#111417"))).max(axis=2) < 0.02
    spans = []
    for low, high in runs(~dark.all(axis=1), 60)[:rows]:
        for left, right in runs((~dark[low:high]).mean(axis=0) > 0.3, 40):
            inside = runs((~dark[low:high, left:right]).mean(axis=1) > 0.3, 40)
            spans.append((low + inside[0][0], low + inside[-1][1], left, right))
    return spans


def runs(where, shortest):
    """Stretches of True at least this long: [(first, one past last)]."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], where.astype(int), [0]])))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2) if b - a >= shortest]


def saturated(pixels):
    colour = pixels[..., :3]
    return colour.max(axis=2) - colour.min(axis=2) > 0.1


def centre(pixels, panel):
    """Centre of the coloured pixels of a panel, as fractions from its top and its left."""
    top, bottom, left, right = panel
    rows, columns = np.nonzero(saturated(pixels[top:bottom, left:right]))
    return (rows.mean() + 0.5) / (bottom - top), (columns.mean() + 0.5) / (right - left)


def test_three_panels_in_proportion(decode):
    spacing_mm = (2.0, 1.0, 1.5)
    pixels = decode(overlay_png(grey(), np.zeros(SHAPE, np.uint8), spacing_mm, NAMES))
    sizes_mm = np.array(SHAPE) * spacing_mm
    found = panels(pixels)
    assert len(found) == 3
    for view, (top, bottom, left, right) in zip(VIEWS, found, strict=True):
        width, height = (sizes_mm[axis] for axis in range(3) if axis != view.axis)
        assert (bottom - top) / (right - left) == pytest.approx(height / width, rel=0.03), view.name
    scale = {round((right - left) / 10) for _, _, left, right in found[:2]}
    assert len(scale) == 1  # axial and coronal share their axis and its scale
    assert pixels.shape[1] == pytest.approx(10.2 * 110, abs=1)


def test_colour_is_where_the_label_is(decode):
    """A block to the patient's right, anterior and superior must be left and up in each picture, by its coordinates."""
    label = np.zeros(SHAPE, np.uint8)
    label[26:34, 45:55, 30:45] = 1  # right of the middle, anterior, superior
    pixels = decode(overlay_png(grey(), label, (1.0, 1.0, 1.0), NAMES))
    right, anterior, superior = 30 / 40, 50 / 60, 37.5 / 50  # centre of the block, fraction of the axis
    expected = [  # (from top, from left)
        (1 - anterior, 1 - right),
        (1 - superior, 1 - right),
        (1 - superior, 1 - anterior),
    ]
    for panel, position in zip(panels(pixels), expected, strict=True):
        assert centre(pixels, panel) == pytest.approx(position, abs=0.02)


def test_fill_has_the_size_and_colour_of_the_class(decode):
    label = np.zeros(SHAPE, np.uint8)
    label[10:30, 15:45, 5:45] = 2
    pixels = decode(overlay_png(grey(), label, (1.0, 1.0, 1.0), NAMES))
    top, bottom, left, right = panels(pixels)[0]
    coloured = saturated(pixels[top:bottom, left:right])
    assert coloured.mean() == pytest.approx(20 * 30 / (40 * 60), rel=0.05)
    middle = pixels[(top + bottom) // 2, (left + right) // 2, :3]
    tint = np.array(rgb(class_colour(1)))
    assert np.argsort(middle).tolist() == np.argsort(tint).tolist()


def test_truth_above_prediction(decode):
    truth, prediction = np.zeros((2, *SHAPE), np.uint8)
    truth[22:32, 20:40, 20:30] = prediction[8:18, 20:40, 20:30] = 1
    pixels = decode(overlay_png(grey(), prediction, (1.0, 1.0, 1.0), NAMES, truth=truth, title="case"))
    found = panels(pixels, rows=2)
    assert len(found) == 6
    assert centre(pixels, found[0])[1] == pytest.approx(1 - 27 / 40, abs=0.03)
    assert centre(pixels, found[3])[1] == pytest.approx(1 - 13 / 40, abs=0.03)


def test_empty_label_has_no_colour(decode):
    assert not saturated(decode(overlay_png(grey(), np.zeros(SHAPE, np.uint8), (1.0, 1.0, 1.0), NAMES))).any()


@pytest.mark.parametrize("value", [0, 7.5, np.nan])
def test_flat_and_unusable_scans(value, decode):
    image = np.full((5, 6, 1), value, np.float32)
    pixels = decode(overlay_png(image, np.ones((5, 6, 1), np.uint8), (1.0, 1.0, 6.0), NAMES))
    assert saturated(pixels).any()


def test_names_are_text(decode):
    hostile = "<script>alert('x')</script> & \"$1^{2}$\" ${title}"
    label = np.ones((8, 8, 8), np.uint8)
    pixels = decode(overlay_png(grey((8, 8, 8)), label, (1.0, 1.0, 1.0), {hostile: 1}, title="$\\frac{$"))
    assert pixels.shape[2] == 4


def test_many_classes(decode):
    label = np.arange(200, dtype=np.uint8).reshape(10, 20, 1).repeat(6, axis=2)
    names = {f"structure {value}": value for value in range(200)}
    assert decode(overlay_png(grey(label.shape), label, (1.0, 1.0, 1.0), names)).shape[2] == 4


def test_shapes_must_agree():
    with pytest.raises(ValueError, match="one shape"):
        overlay_png(grey(), np.zeros((3, 3, 3), np.uint8), (1.0, 1.0, 1.0), NAMES)


def test_busiest_slices():
    foreground = np.zeros((9, 7, 5), bool)
    assert busiest_slices(foreground) == (4, 3, 2)
    foreground[2, :, :4] = foreground[6, 1, 1] = True
    assert busiest_slices(foreground) == (2, 1, 1)


def test_view_slice_by_hand():
    volume = np.zeros((2, 3, 4))
    volume[1, 2, 3] = 1  # most right, anterior, superior: left and up in every picture
    for view in VIEWS:
        assert view_slice(volume, view, (1, 2, 3))[0, 0] == 1


def test_outline_by_hand():
    mask = np.zeros((3, 3), bool)
    mask[1, 2] = True
    assert sorted(outline(mask)) == [
        (1.5, 0.5, 1.5, 1.5), (1.5, 0.5, 2.5, 0.5), (1.5, 1.5, 2.5, 1.5), (2.5, 0.5, 2.5, 1.5),
    ]  # fmt: skip
    assert outline(np.zeros((3, 3), bool)) == []


@pytest.mark.parametrize("orientation", ["RAS", "LPS", "PIR", "SAL", "ILA"])
def test_ras_view_equals_nibabel(orientation):
    data = np.random.default_rng(1).integers(0, 99, (4, 5, 6)).astype(np.int16)
    codes = nibabel.orientations.axcodes2ornt(orientation)
    affine = nibabel.orientations.inv_ornt_aff(codes, (4, 5, 6)) @ np.diag([1.5, 2.5, 3.5, 1])
    # inv_ornt_aff turns RAS voxels into these; here it is only wanted as a signed permutation.
    volume = Volume(data[None], affine)
    expected = nibabel.as_closest_canonical(nibabel.Nifti1Image(data, affine))
    found, spacing_mm = ras_view(volume)
    assert np.array_equal(found[0], np.asarray(expected.dataobj))
    assert spacing_mm == pytest.approx([float(size) for size in nibabel.affines.voxel_sizes(expected.affine)])
