"""What is given to be segmented (files, a Volume, or an array and its affine), how it is read, its name in errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from copy import copy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from unetr.core.plan.schema import Plan
from unetr.core.space.volume import Volume
from unetr.core.text.untrusted import untrusted
from unetr.errors import InputError
from unetr.infer.options import PredictOptions
from unetr.prepare.datasets.cases import read_scan
from unetr.printable import printable

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

Scan = str | Path | Volume | Sequence[str | Path]

_NAMELESS = "the scan"


@dataclass(frozen=True, slots=True, eq=False)
class GivenScan:
    """A scan before it is read. read: its voxels, again at each call. path: its first file, None for a Volume."""

    read: Callable[[], Volume]
    path: Path | None = None


def given_scan(scan: Scan, plan: Plan, options: PredictOptions) -> GivenScan:
    """The scan as it was given. Raises InputError where there is no file."""
    if isinstance(scan, Volume):
        return GivenScan(partial(_finite, scan))
    paths = tuple([Path(scan)] if isinstance(scan, str | Path) else [Path(path) for path in scan])
    if not paths:
        raise InputError("no file to predict; expected one, or one for each channel")
    read = partial(
        read_scan,
        paths,
        series=options.series,
        assume_affine=options.assume_affine,
        accept_shear=options.accept_shear,
        transform=options.transform or plan.transform,
    )
    return GivenScan(read, paths[0])


def name_of(path: Path | None) -> str:
    """What a scan with this first file is called; None: it has none."""
    return _NAMELESS if path is None else str(path)


@contextmanager
def blaming(path: Path | None) -> Iterator[None]:
    """Whatever goes wrong with a scan's bytes is an InputError that names its file; None: it has none."""
    with untrusted(path, "a scan") if path is not None else nullcontext(), naming(path):
        yield


@contextmanager
def naming(path: Path | None) -> Iterator[None]:
    """InputErrors name the scan's file: what gets voxels cannot know which file they are of."""
    try:
        yield
    except InputError as error:
        reason = str(error)
        if path is None or printable(str(path)) in reason:
            raise
        named = copy(error)
        named.args = (printable(f"{path}: {reason.removeprefix(f'{_NAMELESS}: ')}"),)
        raise named from error


def volume_from_array(data: object, affine: ArrayLike) -> Volume:
    """Raises InputError for an array that is no scan or an affine that is none."""
    from unetr.io.checks import check_affine

    voxels, matrix = np.asarray(data), np.asarray(affine, dtype=np.float64)
    if voxels.ndim == 3:
        voxels = voxels[None]
    if voxels.ndim != 4 or voxels.dtype.kind not in "biuf":
        raise InputError(
            f"the array: is {voxels.dtype} {list(voxels.shape)}; expected numbers [X, Y, Z] or [C, X, Y, Z]"
        )
    if matrix.shape != (4, 4):
        raise InputError(f"the affine: is {list(matrix.shape)}; expected 4x4, voxel index to RAS millimetres")
    check_affine(Path("the affine"), matrix, "affine", accept_shear=False)
    return Volume(voxels, matrix)


def check_channels(volume: Volume, plan: Plan) -> Volume:
    """The volume, if its channels are the plan's and none is constant. Raises InputError."""
    names = [channel.name for channel in plan.channels]
    if len(volume.data) != len(names):
        found = f"{len(volume.data)} channel{'' if len(volume.data) == 1 else 's'}"
        raise InputError(f"{_NAMELESS}: has {found}; the model expects {len(names)} ({', '.join(names)})")
    for name, data in zip(names, volume.data, strict=True):
        if data.min() == data.max():
            raise InputError(f"{_NAMELESS}: channel {name!r} is constant: every voxel is {data.flat[0]:g}")
    return volume


def _finite(volume: Volume) -> Volume:
    if not np.isfinite(volume.data).all():
        raise InputError(f"{_NAMELESS}: has voxels that are NaN or infinite; expected numbers")
    return volume
