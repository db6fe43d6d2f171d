"""Moving voxels between the scan's grid and the network's grid, and back.

Forward (`place`) and inverse (`restore`) are here together and share one record, the Placement: turn axes to an
orientation, crop, resample. Resampling keeps the field of view: voxel centres of the target are at
(i + 0.5) * n_source / n_target - 0.5 in source voxels, so both grids have the same outer edges; beyond the first and
last voxel centre the edge value is held. The kernels are separable, one pass per axis.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import permutations
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from unetr.core.machine.allowance import admit
from unetr.core.machine.parallel import in_threads, ranges
from unetr.core.machine.system import available_cores
from unetr.core.space.grids import HEADER_NOISE, nearest_whole, turn_matrix
from unetr.core.space.volume import Affine, Array, Volume, affine_spacing_mm
from unetr.errors import InputError

Kernel = Literal["nearest", "linear", "cubic"]
Shape = tuple[int, int, int]
Box = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]

# Resampled at a time by a thread: what fits its cache.
_SLAB_BYTES = 2**20
_FLOAT = 4
# For each voxel along an axis: four indices and weights, and what makes them.
_KERNEL_BYTES = 160
# Asking for less than this is not worth the time.
_ALWAYS_GRANTED = 16 * 10**6
_POSITIVE = "RAS"
_OPPOSITE = {"R": "L", "L": "R", "A": "P", "P": "A", "S": "I", "I": "S"}


@dataclass(frozen=True, slots=True, eq=False)
class Placement:
    """How a scan's grid became the network's grid; everything that `restore` needs.

    axes: oriented axis i is source axis axes[i]. flips: whether oriented axis i runs backwards along it.
    crop: per oriented axis, first and one past the last voxel kept. shape, affine: the network's grid.
    """

    source_shape: Shape
    source_affine: Affine
    axes: tuple[int, int, int]
    flips: tuple[bool, bool, bool]
    crop: Box
    shape: Shape
    affine: Affine


def orientation_of(affine: Affine) -> str:
    """The anatomical direction in which each voxel axis mostly runs, e.g. "RAS" or "PIR".

    Each voxel axis gets one world axis, the assignment with the largest summed direction cosines, so that an oblique
    scan at 45 degrees still gets three different letters; of assignments that are equal up to what headers round, the
    first one.
    """
    cosines = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    sums = {order: sum(abs(cosines[w, v]) for v, w in enumerate(order)) for order in permutations(range(3))}
    world = next(order for order, cosine in sums.items() if cosine > max(sums.values()) - HEADER_NOISE)
    letters = [_POSITIVE[w] if cosines[w, v] > 0 else _OPPOSITE[_POSITIVE[w]] for v, w in enumerate(world)]
    return "".join(letters)


def place(
    volume: Volume,
    orientation: str,
    spacing_mm: tuple[float, float, float],
    kernel: Kernel,
    crop: Box | None = None,
    *,
    voxel_bytes: int = 0,
    source_bytes: int = 0,
) -> tuple[Volume, Placement]:
    """Brings a volume to an orientation and spacing. `crop` is a box in the oriented grid.

    The spacing that results differs from the one asked for by less than one part in the number of voxels, since the
    field of view is kept and the shape is whole; the returned affine says it exactly.
    voxel_bytes, source_bytes: what the caller takes beside for each voxel of the result and of the source. Raises
    InputError for a grid that is too large for the memory that is left.
    """
    axes, flips = _turn(orientation_of(volume.affine), orientation)
    data = _orient(volume.data, axes, flips)
    affine = volume.affine @ turn_matrix(volume.shape, axes, flips)
    x, y, z = data.shape[1:]
    box: Box = crop or ((0, x), (0, y), (0, z))
    data = data[:, *(slice(low, high) for low, high in box)]
    affine = affine @ _translation([low for low, _ in box])
    cropped = data.shape[1:]
    sizes = [n * have / want for n, have, want in zip(cropped, affine_spacing_mm(affine), spacing_mm, strict=True)]
    if not math.isfinite(math.prod(sizes)):
        raise InputError(f"the scan: its spacing {affine_spacing_mm(affine)} mm makes a grid without end; correct it")
    voxels = [max(1, nearest_whole(size)) for size in sizes]
    shape: Shape = (voxels[0], voxels[1], voxels[2])
    _admit_grid(data, shape, kernel, voxel_bytes * math.prod(shape) + source_bytes * math.prod(cropped))
    data = resample(data, shape, kernel)
    affine = affine @ _scaling([n / m for n, m in zip(cropped, shape, strict=True)])
    placement = Placement(volume.shape, volume.affine, axes, flips, box, shape, affine)
    return volume.with_data(data, affine=affine), placement


def turned(volume: Volume, axes: tuple[int, int, int], flips: tuple[bool, bool, bool]) -> Volume:
    """The same voxels at the same places with axis i running along the volume's axis axes[i], flipped or not."""
    affine = volume.affine @ turn_matrix(volume.shape, axes, flips)
    return volume.with_data(np.ascontiguousarray(_orient(volume.data, axes, flips)), affine=affine)


def content_box(volume: Volume, orientation: str) -> Box:
    """The smallest box, in the grid turned to `orientation`, that holds every voxel where any channel is not zero.

    The whole grid where all voxels are zero.
    """
    content = (volume.data != 0).any(axis=0)
    ranges = []
    for axis in range(3):
        found = np.flatnonzero(content.any(axis=tuple(other for other in range(3) if other != axis)))
        ranges.append((int(found[0]), int(found[-1]) + 1) if found.size else (0, volume.shape[axis]))
    axes, flips = _turn(orientation_of(volume.affine), orientation)
    turned = []
    for axis, flip in zip(axes, flips, strict=True):
        (low, high), length = ranges[axis], volume.shape[axis]
        turned.append((length - high, length - low) if flip else (low, high))
    return turned[0], turned[1], turned[2]


def restore(data: Array, placement: Placement, kernel: Kernel, outside: Any = 0) -> Array:
    """The inverse of `place`: data [C, *placement.shape] -> [C, *placement.source_shape].

    outside: the value of voxels that the crop left out, a number or one per channel.
    """
    if data.shape[1:] != placement.shape:
        raise ValueError(f"data is {data.shape[1:]}, the placement is for {placement.shape}")
    cropped = tuple(high - low for low, high in placement.crop)
    data = resample(data, cropped, kernel)  # type: ignore[arg-type]
    oriented = tuple(placement.source_shape[axis] for axis in placement.axes)
    if cropped != oriented:
        whole = np.empty((data.shape[0], *oriented), dtype=data.dtype)
        whole[:] = np.asarray(outside, dtype=data.dtype).reshape(-1, 1, 1, 1)
        whole[:, *(slice(low, high) for low, high in placement.crop)] = data
        data = whole
    back = [placement.axes.index(axis) for axis in range(3)]
    data = np.flip(data, _flipped(placement.flips))
    return np.ascontiguousarray(data.transpose(0, *(1 + i for i in back)))


def placed_view(data: Array, placement: Placement) -> Array:
    """A view of data [..., *source_shape] with the axes, directions and crop of the network's grid, not resampled.

    Writing to it writes to the data, so that results on the scan's grid can be filled in from the network's side.
    """
    lead = data.ndim - 3
    turned = data.transpose(*range(lead), *(lead + axis for axis in placement.axes))
    turned = np.flip(turned, tuple(lead + axis for axis in range(3) if placement.flips[axis]))
    box: list[Any] = [..., *(slice(low, high) for low, high in placement.crop)]
    view: Array = turned[tuple(box)]
    return view


def resample(data: Array, shape: Shape, kernel: Kernel) -> Array:
    """Data [C, X, Y, Z] on a grid of `shape` voxels with the same outer edges.

    Linear and cubic (Keys 1981, a = -1/2) give float32, nearest keeps the dtype. Axes that keep
    their size are untouched.
    """
    if data.shape[1:] == tuple(shape):
        return data
    for axis in _pass_order(data, shape):
        if data.shape[1 + axis] != shape[axis]:
            data = _resample_axis(data, 1 + axis, shape[axis], kernel)
    return data


def _pass_order(data: Array, shape: Shape) -> list[int]:
    """The axis that shrinks most goes first, so that the others have less to do."""
    return sorted(range(3), key=lambda axis: shape[axis] / data.shape[1 + axis])


def _admit_grid(data: Array, shape: Shape, kernel: Kernel, then: int) -> None:
    """Asks for what `resample` takes, pass by pass, and what is taken then. Raises InputError before any of it is."""
    sizes, held, peak = list(data.shape), 0, 0
    memory = sorted(range(data.ndim), key=lambda a: -abs(data.strides[a]))
    item = data.dtype.itemsize if kernel == "nearest" else _FLOAT
    for axis in _pass_order(data, shape):
        at, before = 1 + axis, math.prod(sizes)
        if sizes[at] == shape[axis]:
            continue
        sizes[at] = shape[axis]
        rows = next((sizes[a] for a in memory if a != at and sizes[a] > 1), 1)
        # A slab's source, its result and a term of it; indices and weights of the kernel.
        many = min(rows, max(1, _SLAB_BYTES * rows // (_FLOAT * before)))
        slab = _FLOAT * many * (before + 2 * math.prod(sizes)) // rows
        work = min(available_cores(), -(-rows // many)) * slab + _KERNEL_BYTES * shape[axis]
        peak = max(peak, held + item * math.prod(sizes) + work)
        held = item * math.prod(sizes)
    needed = max(peak, held + then)
    if needed > _ALWAYS_GRANTED:
        grid = "×".join(str(size) for size in shape)
        admit("the scan", needed, f"for a grid of {grid} voxels", held=data.nbytes)


def axis_kernel(n_source: int, n_target: int, kernel: Kernel) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Source indices [n_target, K] and weights [n_target, K] of a one-dimensional resampling; each row sums to 1."""
    centre = (np.arange(n_target) + 0.5) * (n_source / n_target) - 0.5
    if kernel == "nearest":
        # Rounds half down, so that halving a grid takes the lower of the two equally near voxels on every machine.
        index = np.ceil(centre - 0.5).astype(np.intp)[:, None]
        weight = np.ones((n_target, 1), dtype=np.float32)
    else:
        centre = np.clip(centre, 0, n_source - 1)
        base = np.floor(centre).astype(np.intp)
        t = centre - base
        if kernel == "linear":
            index = base[:, None] + np.arange(2)
            weight = np.stack([1 - t, t], axis=1).astype(np.float32)
        else:
            index = base[:, None] + np.arange(-1, 3)
            weight = np.stack([_keys(t + 1), _keys(t), _keys(1 - t), _keys(2 - t)], axis=1).astype(np.float32)
    return np.clip(index, 0, n_source - 1), weight


def _keys(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    """The cubic convolution kernel of Keys (1981), equation 15, for distances 0..2."""
    d = np.abs(distance)
    near = 1.5 * d**3 - 2.5 * d**2 + 1
    far = -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2
    return np.where(d <= 1, near, np.where(d < 2, far, 0.0))


def _resample_axis(data: Array, axis: int, n_target: int, kernel: Kernel) -> Array:
    """In threads, slab by slab in the order of memory: what is converted to float32 is a slab, never the volume."""
    index, weight = axis_kernel(data.shape[axis], n_target, kernel)
    memory = sorted(range(data.ndim), key=lambda a: -abs(data.strides[a]))
    ordered, at = data.transpose(memory), memory.index(axis)
    result = np.empty(
        [n_target if a == at else n for a, n in enumerate(ordered.shape)],
        dtype=data.dtype if kernel == "nearest" else np.float32,
    )
    along = max((a for a in range(data.ndim) if a != at), key=lambda a: (ordered.shape[a] > 1, -a))
    row_bytes = 4 * ordered.size // ordered.shape[along]

    def slab(some: slice) -> None:
        where = tuple(some if a == along else slice(None) for a in range(data.ndim))
        source = np.ascontiguousarray(ordered[where], dtype=result.dtype)
        if kernel == "nearest":
            result[where] = source.take(index[:, 0], axis=at)
            return
        shape = [n_target if a == at else 1 for a in range(data.ndim)]
        target = result[where]
        np.multiply(source.take(index[:, 0], axis=at), weight[:, 0].reshape(shape), out=target)
        for k in range(1, index.shape[1]):
            term = source.take(index[:, k], axis=at)
            term *= weight[:, k].reshape(shape)
            target += term

    in_threads(slab, ranges(ordered.shape[along], max(1, _SLAB_BYTES // row_bytes)))
    return result.transpose(np.argsort(memory))


def _turn(source: str, target: str) -> tuple[tuple[int, int, int], tuple[bool, bool, bool]]:
    """Which source axis becomes each target axis, and whether it is flipped."""
    axes, flips = [], []
    for letter in target:
        flip = letter not in source
        axes.append(source.index(_OPPOSITE[letter] if flip else letter))
        flips.append(flip)
    return (axes[0], axes[1], axes[2]), (flips[0], flips[1], flips[2])


def _orient(data: Array, axes: tuple[int, int, int], flips: tuple[bool, bool, bool]) -> Array:
    turned: Array = data.transpose(0, *(1 + axis for axis in axes))
    return np.flip(turned, _flipped(flips))


def _flipped(flips: tuple[bool, bool, bool]) -> tuple[int, ...]:
    return tuple(1 + i for i in range(3) if flips[i])


def _translation(offset: list[int]) -> Affine:
    matrix = np.eye(4)
    matrix[:3, 3] = offset
    return matrix


def _scaling(factors: list[float]) -> Affine:
    """Resampled voxel index -> source voxel index, outer edges kept."""
    matrix = np.diag([*factors, 1.0])
    matrix[:3, 3] = [0.5 * f - 0.5 for f in factors]
    return matrix
