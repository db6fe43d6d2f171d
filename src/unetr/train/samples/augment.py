"""Augmentations of intensities, and the random map, affine and bent, that a training window is read through.

Every function gets its randomness from the generator it is handed; nothing here knows cases or steps.
Images are [C, H, W, D] float32, already normalised (mean near 0, standard deviation near 1).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from unetr.core.plan.schema import AugmentPlan
from unetr.core.space.geometry import resample

Float = NDArray[np.float32]
Matrix = NDArray[np.float64]
Spacing = tuple[float, float, float]

# Knots of a bending along the mean side of a window.
_KNOTS = 5
# Knots of a broken line through which grey values are mapped, and the deviation of its heights that is too little.
_LINE_KNOTS = 5
_FLAT = 1e-3


def add_noise(image: Float, rng: np.random.Generator) -> Float:
    """Gaussian noise with a standard deviation drawn from 0 to 0.3."""
    strength = np.float32(rng.uniform(0, 0.3))
    return image + strength * rng.standard_normal(image.shape, dtype=np.float32)


def blur(image: Float, rng: np.random.Generator) -> Float:
    """Gaussian blur with a width of 0.5 to 1 voxels."""
    sigma = rng.uniform(0.5, 1.0)
    return np.stack([ndimage.gaussian_filter(channel, sigma, truncate=3.0) for channel in image])


def change_brightness(image: Float, rng: np.random.Generator) -> Float:
    """Multiplies each channel by a factor from 0.75 to 1.25."""
    factor: Float = rng.uniform(0.75, 1.25, size=(len(image), 1, 1, 1)).astype(np.float32)
    return image * factor


def change_contrast(image: Float, rng: np.random.Generator) -> Float:
    """Stretches each channel about its mean by 0.75 to 1.25, kept within the channel's own range."""
    factor = rng.uniform(0.75, 1.25, size=(len(image), 1, 1, 1)).astype(np.float32)
    mean = image.mean(axis=(1, 2, 3), keepdims=True)
    low, high = image.min(axis=(1, 2, 3), keepdims=True), image.max(axis=(1, 2, 3), keepdims=True)
    changed: Float = np.clip((image - mean) * factor + mean, low, high)
    return changed


def change_gamma(image: Float, rng: np.random.Generator) -> Float:
    """x -> x^gamma on each channel scaled to 0..1, gamma from 0.7 to 1.5; half of the time on the inverted channel."""
    gamma = np.float32(rng.uniform(0.7, 1.5))
    sign = np.float32(1 if rng.random() < 0.5 else -1)
    image = image * sign
    low = image.min(axis=(1, 2, 3), keepdims=True)
    extent = np.maximum(image.max(axis=(1, 2, 3), keepdims=True) - low, np.float32(1e-6))
    changed: Float = sign * (((image - low) / extent) ** gamma * extent + low)
    return changed


def lower_resolution(image: Float, rng: np.random.Generator) -> Float:
    """Samples down by a factor from 0.5 to 1 with the nearest voxel and up again with the cubic kernel."""
    factor = rng.uniform(0.5, 1.0)
    h, w, d = (max(1, round(n * factor)) for n in image.shape[1:])
    x, y, z = image.shape[1:]
    return resample(resample(image, (h, w, d), "nearest"), (x, y, z), "cubic")


def rescale(image: Float, rng: np.random.Generator) -> Float:
    """Multiplies all channels by one factor from 0.9 to 1.1 (the scale of the UNETR paper's published code)."""
    return image * np.float32(rng.uniform(0.9, 1.1))


def shift(image: Float, rng: np.random.Generator) -> Float:
    """Adds one number from -0.1 to 0.1 to all channels (the shift of the UNETR paper's published code)."""
    return image + np.float32(rng.uniform(-0.1, 0.1))


def remap(image: Float, rng: np.random.Generator) -> Float:
    """Other contrasts between tissues: each channel's grey values through a random broken line.

    Its knots are evenly spaced from the 1st to the 99th percentile, each at a random height, so that what was brighter
    may become darker, as between sequences of MRI. Mean and deviation stay.
    """
    places = np.linspace(0, 1, _LINE_KNOTS)
    changed = np.empty_like(image)
    for channel, out in zip(image, changed, strict=True):
        low, high = np.percentile(channel, (1, 99))
        heights = rng.uniform(size=_LINE_KNOTS)
        mapped = np.interp(channel, low + (high - low) * places, heights)
        deviation = mapped.std()
        if deviation < _FLAT:  # nothing is left to tell tissues by
            out[:] = channel
        else:
            out[:] = (mapped - mapped.mean()) * (channel.std() / deviation) + channel.mean()
    return changed


def turn(
    image: Float, classes: NDArray[np.integer], probability: float, rng: np.random.Generator
) -> tuple[Float, NDArray[np.integer]]:
    """Turns image [C, H, H, D] and classes [H, H, D] by 90, 180 or 270 degrees about the third axis, all as likely.

    Nothing is drawn where the probability is 0, so that plans without turns have the samples that they always had.
    """
    if probability == 0 or rng.random() >= probability:
        return image, classes
    quarters = int(rng.integers(1, 4))
    return np.rot90(image, quarters, axes=(1, 2)), np.rot90(classes, quarters, axes=(0, 1))


# The field of AugmentPlan that holds its probability -> the augmentation, in the order of application.
INTENSITY_AUGMENTATIONS: dict[str, Callable[[Float, np.random.Generator], Float]] = {
    "noise_probability": add_noise,
    "blur_probability": blur,
    "brightness_probability": change_brightness,
    "contrast_probability": change_contrast,
    "low_resolution_probability": lower_resolution,
    "gamma_probability": change_gamma,
    "rescale_probability": rescale,  # these last: what comes after all draws changes no earlier plan's samples
    "shift_probability": shift,
    "remap_probability": remap,
}


def augment_intensities(image: Float, plan: AugmentPlan, rng: np.random.Generator) -> Float:
    """Applies each intensity augmentation with its probability."""
    for field, change in INTENSITY_AUGMENTATIONS.items():
        if rng.random() < getattr(plan, field):
            image = change(image, rng)
    return np.ascontiguousarray(image, dtype=np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class SpatialMap:
    """How a window is read from a volume.

    matrix: [3, 3], offset from the window's centre -> offset in the volume, in voxels. displacement: [3, H, W, D],
    voxels of the volume that are added to each place, None where nothing is bent.
    """

    matrix: Matrix
    displacement: Float | None = None


def random_map(
    plan: AugmentPlan, spacing_mm: Spacing, window: tuple[int, int, int], rng: np.random.Generator
) -> SpatialMap | None:
    """A random rotation and scaling, and a random bending; None when this sample has neither."""
    turned = rng.random() < plan.spatial_probability
    matrix = _random_matrix(plan, spacing_mm, rng) if turned else np.eye(3)
    bent = rng.random() < plan.elastic_probability
    displacement = _random_displacement(plan.elastic_strength, spacing_mm, window, rng) if bent else None
    return SpatialMap(matrix, displacement) if turned or bent else None


def _random_matrix(plan: AugmentPlan, spacing_mm: Spacing, rng: np.random.Generator) -> Matrix:
    """Angles are uniform within +-rotate_degrees about each axis, the scale within 1 +- scale, each axis its own with
    probability 1/3. Rotation is in mm, so that anisotropic voxels do not shear.
    """
    angles = np.deg2rad(rng.uniform(-plan.rotate_degrees, plan.rotate_degrees, size=3))
    scale = rng.uniform(1 - plan.scale, 1 + plan.scale, size=3)
    if rng.random() >= 1 / 3:
        scale[:] = scale[0]
    spacing = np.diag(spacing_mm)
    return np.linalg.inv(spacing) @ _rotation(angles) @ spacing @ np.diag(scale)


def _random_displacement(
    strength: float, spacing_mm: Spacing, window: tuple[int, int, int], rng: np.random.Generator
) -> Float:
    """A smooth field of displacements: normal at knots, cubic between them (free-form deformation).

    Knots lie a fifth of the window's mean side apart, in mm, along every axis; the standard deviation of a displacement
    is up to `strength` times that distance, in mm along every axis. Below 0.25 the map seldom folds.
    """
    sides_mm = np.array(window) * np.array(spacing_mm)
    distance_mm = sides_mm.mean() / _KNOTS
    x, y, z = (int(max(2, np.ceil(side / distance_mm) + 1)) for side in sides_mm)
    knots = rng.normal(0, rng.uniform(0, strength) * distance_mm, size=(3, x, y, z))
    in_voxels = (knots / np.array(spacing_mm).reshape(3, 1, 1, 1)).astype(np.float32)
    return resample(in_voxels, window, "cubic")


def read_through(
    image: Float,
    label: NDArray[np.integer],
    map_: SpatialMap,
    centre: NDArray[np.float64],
    window: tuple[int, int, int],
) -> tuple[Float, NDArray[np.integer]]:
    """Image (linear) and label (nearest class) on a window whose centre is at `centre` of the volume, through a map.

    Outside the volume the image is 0 and the label is class 0, the same as the padding at inference.
    """
    offset = centre - map_.matrix @ ((np.array(window) - 1) / 2)
    reach = 0.0 if map_.displacement is None else float(np.abs(map_.displacement).max())
    low, high = _bounds(map_.matrix, offset, window, label.shape, reach)
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    offset = offset - low
    if map_.displacement is None:
        read = partial(ndimage.affine_transform, matrix=map_.matrix, offset=offset, output_shape=window)
    else:
        places = np.tensordot(map_.matrix, np.indices(window), axes=1) + offset.reshape(3, 1, 1, 1)
        read = partial(ndimage.map_coordinates, coordinates=places + map_.displacement)
    channels = [read(np.asarray(channel[box]), order=1, mode="grid-constant") for channel in image]
    return np.stack(channels), read(np.asarray(label[box]), order=0, mode="grid-constant")


def _bounds(
    matrix: Matrix, offset: NDArray[np.float64], window: tuple[int, int, int], shape: tuple[int, ...], margin: float
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The part of the volume that the window reaches, so that a memory-mapped case is read only there.

    margin: voxels that it may reach beyond its corners.
    """
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in window], indexing="ij")).reshape(3, -1)
    reach = matrix @ corners + offset[:, None]
    size = np.array(shape)
    low = np.clip(np.floor(reach.min(axis=1) - margin).astype(np.intp) - 1, 0, size - 1)
    high = np.clip(np.ceil(reach.max(axis=1) + margin).astype(np.intp) + 2, low + 1, size)
    return low, high


def _rotation(angles: NDArray[np.float64]) -> Matrix:
    (cx, cy, cz), (sx, sy, sz) = np.cos(angles), np.sin(angles)
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return np.asarray(about_z @ about_y @ about_x)
