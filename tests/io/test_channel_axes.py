"""Several numbers per voxel and axes of size 1, as ITK and others store them: the same scan from all three formats."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK

from unetr.core.space.grids import same_grid
from unetr.core.space.volume import Affine, Array
from unetr.errors import InputError
from unetr.io import read_volume

SHAPE = (7, 6, 5)
SUFFIXES = [".nii.gz", ".nrrd", ".mha"]


def numbers(channels: int) -> Array:
    return np.random.default_rng(channels).integers(-900, 900, (channels, *SHAPE)).astype("<i2")


def itk(data: Array) -> SimpleITK.Image:
    """A scan [X, Y, Z] on an oblique grid."""
    image = SimpleITK.GetImageFromArray(data.T)
    c, s = np.cos(0.3), np.sin(0.3)
    image.SetDirection((c, -s, 0, s, c, 0, 0, 0, 1))
    image.SetSpacing((0.5, 0.75, 2))
    image.SetOrigin((-10, 20, 33))
    return image


def grid() -> Affine:
    affine = np.eye(4)
    image = itk(numbers(1)[0])
    affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return np.diag([-1.0, -1, 1, 1]) @ affine


def series(data: Array) -> SimpleITK.Image:
    """ITK's image of four dimensions."""
    return SimpleITK.JoinSeries([itk(channel) for channel in data])


def series_of_vectors(data: Array, times: int = 1) -> SimpleITK.Image:
    """ITK's image of four dimensions with several components per voxel."""
    image = SimpleITK.GetImageFromArray(np.stack([data.transpose(3, 2, 1, 0)] * times), isVector=True)
    image.CopyInformation(series(np.stack([data[0]] * times)))
    return image


def vectors(data: Array) -> SimpleITK.Image:
    return SimpleITK.Compose([itk(channel) for channel in data])


def assert_itk_is_read(image: SimpleITK.Image, path: Path, data: Array) -> None:
    """What SimpleITK writes of the image reads as these numbers on the same grid."""
    SimpleITK.WriteImage(image, str(path))
    volume = read_volume(path)
    assert np.array_equal(volume.data, data)
    assert same_grid(grid(), volume.affine, SHAPE)


@pytest.mark.fault("singleton axes and vectors")
@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("channels", [1, 2, 3, 5])
@pytest.mark.parametrize("made", [series, vectors])
def test_what_itk_writes(made: Callable[[Array], SimpleITK.Image], channels: int, suffix: str, tmp_path: Path) -> None:
    data = numbers(channels)
    assert_itk_is_read(made(data), tmp_path / f"scan{suffix}", data)


@pytest.mark.fault("singleton axes and vectors")
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_vector_of_each_place_in_a_series_of_one(suffix: str, tmp_path: Path) -> None:
    """Four dimensions and several components: NIfTI X Y Z 1 C."""
    data = numbers(2)
    assert_itk_is_read(series_of_vectors(data), tmp_path / f"scan{suffix}", data)


@pytest.mark.fault("singleton axes and vectors")
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_two_axes_of_channels_are_refused_alike(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"scan{suffix}"
    SimpleITK.WriteImage(series_of_vectors(numbers(2), times=3), str(path))
    with pytest.raises(InputError, match=r"has 5 axes .*expected X, Y and Z and at most one further axis of channels"):
        read_volume(path)


@pytest.mark.fault("singleton axes and vectors")
@pytest.mark.parametrize("shape", [(1,), (1, 1), (1, 1, 1), (2,), (1, 2), (2, 1), (1, 1, 2), (1, 2, 1), (1, 1, 1, 2)])
@pytest.mark.parametrize("intent", [0, 1007])
def test_axes_of_nifti(shape: tuple[int, ...], intent: int, tmp_path: Path) -> None:
    data = numbers(int(np.prod(shape)))
    path = tmp_path / "scan.nii"
    image = nibabel.Nifti1Image(np.moveaxis(data, 0, 3).reshape(*SHAPE, *shape), grid())
    image.header["intent_code"] = intent
    nibabel.save(image, path)
    # nibabel drops trailing ones where it may; the header says what was meant.
    assert np.array_equal(read_volume(path).data, data)


def nrrd(path: Path, data: Array, kinds: str, order: str, **changes: str) -> Path:
    """`data` [C, X, Y, Z] with axes in the order "cxyz", "xyzc", "xyz", or with "1" for an axis of size 1."""
    names = {"c": 0, "x": 1, "y": 2, "z": 3}
    stored = data.transpose([names[axis] for axis in order if axis != "1"] if "c" in order else (0, 1, 2, 3))
    stored = stored if "c" in order else stored[0]
    left = iter(stored.shape)
    sizes = [1 if axis == "1" else next(left) for axis in order]
    affine = grid()
    directions = {a: "(" + ",".join(repr(float(v)) for v in affine[:3, i]) + ")" for i, a in enumerate("xyz")}
    fields = {
        "type": "int16",
        "dimension": str(len(sizes)),
        "space": "right-anterior-superior",
        "sizes": " ".join(map(str, sizes)),
        "space directions": " ".join(directions.get(axis, "none") for axis in order),
        "kinds": kinds,
        "endian": "little",
        "encoding": "raw",
        "space origin": "(" + ",".join(repr(float(v)) for v in affine[:3, 3]) + ")",
    } | {name.replace("_", " "): value for name, value in changes.items()}
    lines = ["NRRD0005", *(f"{name}: {value}" for name, value in fields.items() if value), "", ""]
    path.write_bytes("\n".join(lines).encode() + stored.tobytes(order="F"))
    return path


@pytest.mark.fault("singleton axes and vectors")
@pytest.mark.parametrize("kind", ["vector", "list", "covariant-vector", "2-vector", "time", "point", "domain", "none"])
@pytest.mark.parametrize("order", ["cxyz", "xyzc", "cxyz1", "1cxyz", "xyz1c", "xyzc1", "c1xyz"])
def test_axes_of_nrrd(kind: str, order: str, tmp_path: Path) -> None:
    """Channels first or last; which axis is no axis of space is said by its kind, and by its lack of a direction."""
    data = numbers(2)
    kinds = " ".join("domain" if axis in "xyz" else "stub" if axis == "1" else kind for axis in order)
    volume = read_volume(nrrd(tmp_path / "scan.nrrd", data, kinds, order))
    assert np.array_equal(volume.data, data) and np.allclose(volume.affine, grid())
    assert np.array_equal(read_volume(nrrd(tmp_path / "bare.nrrd", data, "", order)).data, data)


@pytest.mark.fault("singleton axes and vectors")
@pytest.mark.parametrize("order", ["1xyz", "xyz1", "11xyz", "1xyz1", "xyz11"])
@pytest.mark.parametrize("kind", ["vector", "list", "domain", "scalar"])
def test_one_channel_in_nrrd(order: str, kind: str, tmp_path: Path) -> None:
    data = numbers(1)
    kinds = " ".join("domain" if axis in "xyz" else kind for axis in order)
    volume = read_volume(nrrd(tmp_path / "scan.nrrd", data, kinds, order))
    assert np.array_equal(volume.data, data) and np.allclose(volume.affine, grid())


@pytest.mark.fault("singleton axes and vectors")
def test_what_is_no_channel_is_refused(tmp_path: Path) -> None:
    data = numbers(3)
    path = tmp_path / "scan.nrrd"
    for kind in ("RGB-color", "3-color", "HSV-color", "complex", "3D-matrix", "quaternion", "3-normal"):
        with pytest.raises(InputError, match=f"{kind.lower()} domain domain domain"):
            read_volume(nrrd(path, data, f"{kind} domain domain domain", "cxyz"))
    directions = "(1,0,0) (1,0,0) (0,1,0) (0,0,1)"
    for changes in (
        {"kinds": "domain vector domain domain", "order": "xcyz"},  # between the axes of space
        {"kinds": "vector list domain domain", "order": "cxyz"},
        {
            "kinds": "vector domain domain domain",
            "order": "cxyz",
            "space_directions": directions,
        },
        {"kinds": "domain domain domain domain", "order": "cxyz", "space": "", "space_directions": ""},
    ):
        with pytest.raises(InputError, match=r"scan\.nrrd: (has axes of the kinds|gives its axis|is 2D)"):
            read_volume(nrrd(path, data, **changes))


@pytest.mark.fault("singleton axes and vectors")
def test_a_fourth_axis_that_leads_through_space_is_refused(tmp_path: Path) -> None:
    for suffix, words in ((".mha", "mixes the axes of space"), (".nrrd", "a direction in space")):
        path = tmp_path / f"scan{suffix}"
        image = series(numbers(2))
        turned = np.eye(4)
        turned[[0, 0, 3, 3], [0, 3, 0, 3]] = np.cos(0.1), -np.sin(0.1), np.sin(0.1), np.cos(0.1)
        image.SetDirection(turned.ravel())
        SimpleITK.WriteImage(image, str(path))
        with pytest.raises(InputError, match=words):
            read_volume(path)
