"""Reading scans and labels, comparing their grids, and writing: what the rest of the package uses."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import numpy as np

from unetr.core.files.atomic import atomic_path
from unetr.core.machine.allowance import Claim, reading
from unetr.core.space.frames import Transform, taking
from unetr.core.space.geometry import orientation_of, turned
from unetr.core.space.grids import grid_tolerance_mm, lossless_turn, same_grid
from unetr.core.space.volume import Affine, Array, Volume, grid_distance_mm
from unetr.core.text.untrusted import reads_untrusted
from unetr.errors import InputError, MachineError
from unetr.io.checks import check_affine, trusted_volume
from unetr.io.dicom.volume import is_dicom, read_dicom
from unetr.io.formats import FORMATS, is_scan, scan_suffix
from unetr.io.voxels import smallest_integer, storable, volume_sizes

# Float labels closer than this to a whole number are that number.
_WHOLE = 1e-3
_LARGEST_LABEL = 65535
_LISTED = 10


@reads_untrusted("a sound 3D scan")
def read_volume(
    path: Path, *, assume_affine: bool = False, accept_shear: bool = False, transform: Transform | None = None
) -> Volume:
    """Reads a scan as [C, X, Y, Z], in the file's own number type, or float32 where the file scales its numbers.

    A folder, zip or file of DICOM with a single series is read too (`read_dicom` chooses among several).
    The fourth axis of a NIfTI and the components of NRRD and MHA voxels are channels. assume_affine: a file without
    affine gets its voxel sizes, axes taken as right, anterior, superior. accept_shear: voxel axes need
    not be perpendicular. transform: which affine of a NIfTI counts where its two disagree, `core.space.frames.taken`
    where it is None. Raises InputError for whatever is not a sound 3D scan, or does not fit in memory.

    >>> scan = unetr.read_volume("scan.nii.gz")
    >>> scan.data.ndim, scan.affine.shape
    (4, (4, 4))
    """
    # The bytes of a file that is named like a scan decide nothing: what its name says is expected of it.
    if (path.is_dir() or not path.name.lower().endswith(tuple(FORMATS))) and is_dicom(path):
        return read_dicom(path)
    raw_format = FORMATS[scan_suffix(path)]
    # What no number can hold is refused by the checks; numpy's own words on it are not for users.
    with taking(transform), reading(), np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        return trusted_volume(path, raw_format.read(path), assume_affine, accept_shear)


@reads_untrusted("a sound label volume")
def read_label(
    path: Path,
    values: Collection[int] | None = None,
    *,
    assume_affine: bool = False,
    accept_shear: bool = False,
) -> Volume:
    """Reads a label volume [1, X, Y, Z] in the smallest integer type that holds it, uint8 for values below 256.

    values: all that may occur, background included; None allows 0..65535. Raises InputError, as `read_volume` does,
    and for several channels, for numbers further than 1e-3 from an integer, and for other values, listing them.
    """
    with reading(_judging_bytes):
        volume = read_volume(path, assume_affine=assume_affine, accept_shear=accept_shear)
    channels = volume.data.shape[0]
    if channels != 1:
        raise InputError(f"{path}: has {channels} channels; expected a label with one value per voxel")
    data = _whole(path, volume.data)
    low, high = int(data.min()), int(data.max())
    if low < 0:
        raise InputError(f"{path}: has negative label values {_listed(data, data < 0)}; expected 0 or above")
    if high > _LARGEST_LABEL:
        raise InputError(f"{path}: has label values up to {high}; expected at most {_LARGEST_LABEL}; is it a scan?")
    data = data.astype(smallest_integer(low, high), copy=False)
    if values is not None:
        known = np.isin(np.arange(high + 1), list(values))
        unknown = ~known[data]
        if unknown.any():
            expected = ", ".join(str(value) for value in sorted(values))
            raise InputError(f"{path}: has unknown label values {_listed(data, unknown)}; expected {expected}")
    return volume.with_data(data)


def check_same_grid(image: Volume, label: Volume, image_path: Path, label_path: Path) -> None:
    """Raises InputError unless both have the same voxels at the same place (see `grids.same_grid`)."""
    if image.shape != label.shape:
        sizes = ["×".join(str(size) for size in volume.shape) for volume in (label, image)]
        raise InputError(f"{label_path}: has {sizes[0]} voxels, {image_path} has {sizes[1]}; expected the same grid")
    if not same_grid(image.affine, label.affine, image.shape):
        distance = grid_distance_mm(image.affine, label.affine, image.shape)
        raise InputError(
            f"{label_path}: its affine places voxels up to {distance:.3g} mm from where {image_path} has them; "
            f"expected at most {grid_tolerance_mm(image.affine, image.shape):.2g} mm"
        )


def onto_grid(image: Volume, label: Volume, image_path: Path, label_path: Path) -> Volume:
    """The label's voxels on the image's very grid, its affine included.

    Where both hold the same voxels in another order of axes or in other directions (a label in RAS, its image in LAS),
    the label is turned, which changes no value, and `notes` say so. Raises InputError where no such turn brings them
    together.
    """
    if image.shape != label.shape or not same_grid(image.affine, label.affine, image.shape):
        turn = lossless_turn(label.affine, image.affine, label.shape)
        if turn is not None and tuple(label.shape[axis] for axis in turn[0]) == image.shape:
            ways = [orientation_of(volume.affine) for volume in (label, image)]
            note = f"{label_path}: is stored as {ways[0]}, {image_path.name} as {ways[1]}: turned, no value changed"
            label = replace(turned(label, *turn), notes=(*label.notes, note))
        else:
            check_same_grid(image, label, image_path, label_path)
    return replace(label, affine=image.affine)


def header_affines(path: Path) -> dict[str, Affine]:
    """What a file says of its place, by the header's word for it, unjudged; empty for DICOM. Raises InputError."""
    if not is_scan(path):
        return {}
    return dict(FORMATS[scan_suffix(path)].read(path).affines)


def write_volume(path: Path | str, volume: Volume) -> None:
    """Writes atomically: beside the path, read back and compared, flushed, renamed. What was there stays on failure.

    Floats are stored as float32, bool as uint8, 64-bit integers in the smallest type that holds them, other integers
    as they are. Raises InputError for what would not be readable, MachineError if the machine refuses.

    >>> scan = unetr.read_volume("scan.nii.gz")
    >>> unetr.write_volume("copy.mha", scan)
    >>> bool((unetr.read_volume("copy.mha").data == scan.data).all())
    True
    """
    path = Path(path)
    scan_format = FORMATS[scan_suffix(path)]
    channels, *sizes = volume.data.shape
    volume_sizes(path, [*sizes, channels])
    check_affine(path, volume.affine, "affine", accept_shear=True)
    stored = storable(volume, path)
    with atomic_path(path, verify=lambda temporary: _verify(path, temporary, stored)) as temporary:
        scan_format.write(temporary, stored)


def _verify(path: Path, temporary: Path, stored: Volume) -> None:
    try:
        found = read_volume(temporary, accept_shear=True)
    except InputError as error:
        raise MachineError(f"{path}: what was written cannot be read back ({error}); check the disk") from error
    same = (
        found.data.dtype == stored.data.dtype
        and np.array_equal(found.data, stored.data)
        and same_grid(stored.affine, found.affine, stored.shape)
        and found.label_names == stored.label_names
    )
    if not same:
        raise MachineError(f"{path}: what reads back is not what was written; check the disk")


def _judging_bytes(claim: Claim) -> int:
    """What judging the values of a label takes beside them."""
    if claim.rescaled or claim.dtype.kind == "f":  # rounded numbers, how far off they are, and marks
        return claim.numbers * (2 * (4 if claim.rescaled else claim.dtype.itemsize) + 4 + 1)
    return claim.numbers * (2 + 1)


def _whole(path: Path, data: Array) -> Array:
    """Labels stored as floats, as integers; integers as they are."""
    if data.dtype.kind != "f":
        return data
    rounded = np.rint(data)
    distance = data - rounded
    off = np.abs(distance, out=distance) > _WHOLE
    del distance
    count = int(np.count_nonzero(off))
    if count:
        examples = ", ".join(f"{value:g}" for value in data[off][:3])
        raise InputError(
            f"{path}: {count} of {data.size} voxels are not whole numbers (such as {examples}); "
            f"expected label values within {_WHOLE} of integers"
        )
    largest = max(abs(float(rounded.min())), abs(float(rounded.max())))
    if largest > np.iinfo(np.int32).max:
        raise InputError(f"{path}: has numbers up to {largest:g}; expected label values; is it a scan?")
    whole: Array = rounded.astype(np.int32)
    return whole


def _listed(data: Array, where: Array) -> str:
    """E.g. "7 (12 voxels), 9 (1 voxel)", at most ten of them."""
    values, counts = np.unique(data[where], return_counts=True)
    parts = [f"{v} ({n} voxel{'' if n == 1 else 's'})" for v, n in zip(values[:_LISTED], counts, strict=False)]
    more = f" and {len(values) - _LISTED} more" if len(values) > _LISTED else ""
    return ", ".join(parts) + more
