"""From a scan to the network's input. The same functions serve training and prediction, so that there is no skew.

Order: turn to the plan's orientation, cut off the empty border, resample to the plan's spacing, then normalise each
channel on the resampled grid.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from unetr.core.plan.schema import ChannelPlan, Plan
from unetr.core.space.geometry import Box, Placement, content_box, place, resample
from unetr.core.space.volume import Volume
from unetr.errors import InputError

Image = NDArray[np.float32]

# A channel whose deviation is below this share of its level is constant up to float32 rounding.
CONSTANT_SHARE = 1e-6
_SMALLEST_STD = 1e-30
# What normalising one channel takes for each voxel beside the result: float32 copies, and one in float64.
NORMALISING_BYTES = 17
IGNORED = -1
_UNKNOWN = -2
_LARGEST_VALUE = 32767


def preprocess_image(volume: Volume, plan: Plan) -> tuple[Image, Placement]:
    """The network's input float32 [C, X, Y, Z] on the plan's grid, and the way back to the scan's grid.

    With the plan's `crop: content`, the border where all channels are zero is left out: windows that lie wholly in it
    would show the network nothing but zeros. Cubic resampling overshoots at edges; the result is clipped to the range
    of the scan's own values.
    Raises InputError when the number of channels is not the plan's.
    """
    names = [channel.name for channel in plan.channels]
    if volume.data.shape[0] != len(names):
        raise InputError(
            f"the scan has {volume.data.shape[0]} channels; expected {len(names)} in this order: {', '.join(names)}"
        )
    crop = content_box(volume, plan.orientation) if plan.crop == "content" else None
    voxel_bytes = 4 * len(names) + NORMALISING_BYTES
    placed, placement = place(volume, plan.orientation, plan.spacing_mm, "cubic", crop, voxel_bytes=voxel_bytes)
    resampled = placed.shape != tuple(high - low for low, high in placement.crop)
    result = np.empty(placed.data.shape, dtype=np.float32)
    for index, channel in enumerate(plan.channels):
        data = placed.data[index].astype(np.float32, copy=False)
        if resampled:
            values = volume.data[index]
            np.clip(data, np.float32(values.min()), np.float32(values.max()), out=data)
        result[index] = NORMALISATIONS[channel.normalisation](data, channel)
    return result, placement


def preprocess_label(volume: Volume, plan: Plan, crop: Box | None = None) -> NDArray[np.int16]:
    """Class indices int16 [X, Y, Z] on the plan's grid, in the order of `plan.class_values`; ignored voxels are -1.

    crop: the box of the image's Placement, since an empty border is the image's to tell.
    Exact where the grid keeps its spacing. Else each class is resampled linearly as its own mask and the largest
    wins (the first one at a tie), one class in memory at a time.
    Raises InputError for values that the plan does not know.
    """
    # Beside: the best score and this class's, in passes, and the result; class indices, masks and marks of the source.
    _, placement = place(volume, plan.orientation, plan.spacing_mm, "nearest", crop, voxel_bytes=20, source_bytes=10)
    indices = _class_indices(volume.data[0], plan).transpose(placement.axes)
    indices = np.flip(indices, tuple(axis for axis in range(3) if placement.flips[axis]))
    indices = np.ascontiguousarray(indices[*(slice(low, high) for low, high in placement.crop)])
    if indices.shape == placement.shape:
        return indices
    best = np.full(placement.shape, -1.0, dtype=np.float32)
    result = np.zeros(placement.shape, dtype=np.int16)
    for index in np.unique(indices):
        mask = (indices == index).astype(np.float32)[None]
        score = resample(mask, placement.shape, "linear")[0]
        wins = score > best
        best[wins] = score[wins]
        result[wins] = index
    return result


def _class_indices(values: NDArray[np.integer], plan: Plan) -> NDArray[np.int16]:
    table = np.full(_LARGEST_VALUE + 1, _UNKNOWN, dtype=np.int16)
    table[list(plan.class_values)] = np.arange(len(plan.class_values))
    if plan.ignore_label is not None:
        table[plan.ignore_label] = IGNORED
    indices: NDArray[np.int16] = table[np.clip(values, 0, _LARGEST_VALUE)]
    unknown = (indices == _UNKNOWN) | (values < 0) | (values > _LARGEST_VALUE)
    if unknown.any():
        found = [int(value) for value in np.unique(values[unknown])[:5]]
        raise InputError(f"the label has the values {found}; expected only {list(plan.class_values)}")
    return indices


def _zscore(data: Image, channel: ChannelPlan) -> Image:
    low, high = np.percentile(data, channel.clip_percentiles)
    clipped = np.clip(data, np.float32(low), np.float32(high))
    mean, std = float(clipped.mean(dtype=np.float64)), float(clipped.std(dtype=np.float64))
    if std <= max(CONSTANT_SHARE * abs(mean), _SMALLEST_STD):
        return np.zeros_like(data)
    if channel.most_deviations is not None:
        std = max(std, float(high - low) / channel.most_deviations)
    clipped -= np.float32(mean)
    clipped /= np.float32(std)
    return clipped.astype(np.float32, copy=False)


def _ct(data: Image, channel: ChannelPlan) -> Image:
    low, high, mean, std = _numbers(channel, "low", "high", "mean", "std")
    return ((np.clip(data, low, high) - mean) / std).astype(np.float32)


def _range(data: Image, channel: ChannelPlan) -> Image:
    low, high = _numbers(channel, "low", "high")
    return ((np.clip(data, low, high) - low) / (high - low)).astype(np.float32)


def _none(data: Image, _: ChannelPlan) -> Image:
    return data


def _numbers(channel: ChannelPlan, *names: str) -> list[np.float32]:
    """Numbers that ChannelPlan has checked to be there for its normalisation."""
    return [np.float32(getattr(channel, name)) for name in names]


NORMALISATIONS: dict[str, Callable[[Image, ChannelPlan], Image]] = {
    "zscore": _zscore,
    "ct": _ct,
    "range": _range,
    "none": _none,
}
