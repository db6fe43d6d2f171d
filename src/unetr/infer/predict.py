"""Predict: a scan in, a segmentation on its own grid out. One path serves the command and Python."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from unetr.core.machine.allowance import memory_limit
from unetr.core.plan.fingerprint import Fingerprint
from unetr.core.plan.schema import Plan
from unetr.core.space.frames import Transform
from unetr.core.space.geometry import Placement
from unetr.core.space.volume import Volume
from unetr.errors import InputError
from unetr.infer.route import Budget, Demand, choose_route, next_scan_bytes, result_bytes
from unetr.infer.rules import apply_rules, extent_values
from unetr.infer.sweep.combine import combined, mirror_views
from unetr.infer.sweep.restore import Restored, restore_piece
from unetr.infer.sweep.scores import probabilities
from unetr.infer.sweep.slabs import Route, sweep
from unetr.infer.sweep.uncertainty import ConfidenceSum
from unetr.infer.sweep.windows import Engine, Float
from unetr.infer.verdict import Verdict, judge
from unetr.io import read_volume, write_volume
from unetr.prepare.datasets.cases import stack_channels
from unetr.prepare.preprocess import preprocess_image

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

Scan = str | Path | Volume | Sequence[str | Path]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a prediction is to contain and how it is made.

    tta: average over the mirrors that the plan allows. probabilities, uncertainty: keep these volumes.
    memory_limit_bytes: of the whole process; None for what the machine has free.
    """

    tta: bool = False
    probabilities: bool = False
    uncertainty: bool = False
    memory_limit_bytes: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A scan that is ready for the network; its own voxels are not needed any more.

    image: float32 [C, X, Y, Z] on the plan's grid, and its placement. grid: the scan without voxels (all zero, in no
    memory). scan: gets the voxels again.
    """

    image: Float
    placement: Placement
    grid: Volume
    verdict: Verdict
    scan: Callable[[], Volume] = field(repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """A segmentation on the scan's own grid.

    labels: Volume [1, X, Y, Z] of label values, with their names. volumes_ml: name -> volume of each foreground class
    or region. confidence: name -> mean probability, on the network's grid, of the voxels given to it, NaN for what does
    not occur. verdict: whether the scan looks like the training scans. probabilities: Volume [J, X, Y, Z], and
    uncertainty: Volume [1, X, Y, Z] from 0 (sure) to 1 (a guess), both float32, where they were asked for.
    """

    labels: Volume
    volumes_ml: dict[str, float]
    confidence: dict[str, float]
    verdict: Verdict
    scan: Callable[[], Volume] = field(repr=False)
    probabilities: Volume | None = None
    uncertainty: Volume | None = None

    def save(self, path: str | Path) -> Path:
        """Writes the label file, atomically and verified; the suffix chooses the format."""
        write_volume(Path(path), self.labels)
        return Path(path)

    def preview(self, path: str | Path) -> Path:
        """Writes a PNG of the segmentation over the scan's first channel. Raises MachineError."""
        from unetr.draw.picture import overlay, write_png

        write_png(Path(path), overlay(self.scan(), self.labels))
        return Path(path)


@dataclass(frozen=True, slots=True, eq=False)
class Segmenter:
    """A plan and an engine that runs its network; make one with `unetr.load`.

    fingerprint: of the training scans, where it is known. network_bytes: memory the engine takes when it runs.
    choice: which engine, device and precision, and why, for people. source: the model file's name, for errors.
    """

    plan: Plan
    engine: Engine
    fingerprint: Fingerprint | None = None
    network_bytes: int = 0
    choice: str = ""
    source: str = "the model"

    def predict(
        self,
        scan: Scan | ArrayLike,
        affine: ArrayLike | None = None,
        *,
        tta: bool = False,
        probabilities: bool = False,
        uncertainty: bool = False,
        strict: bool = False,
        assume_affine: bool = False,
        accept_shear: bool = False,
        transform: Transform | None = None,
        memory_limit_bytes: int | None = None,
    ) -> Prediction:
        """Segments one scan: a file, one file per channel, a Volume, or an array [X, Y, Z] or [C, X, Y, Z] and affine.

        affine: 4x4, voxel index -> RAS millimetres. tta: average over the mirrors that the plan allows. probabilities,
        uncertainty: return these volumes too. strict: refuse a scan that does not look like the training scans.
        assume_affine: take the axes of a scan without geometry as R, A, S. accept_shear: segment a scan whose axes are
        not perpendicular on its own grid. transform: which affine of a NIfTI counts where its two disagree, in place of
        the plan's. memory_limit_bytes: of the whole process.
        Raises InputError for a scan that cannot be used, or not within the memory.
        """
        given = cast("Scan", scan) if affine is None else _from_array(scan, affine)
        read = partial(_as_volume, given, self.plan, assume_affine, accept_shear, transform)
        with memory_limit(memory_limit_bytes):
            prepared = self.prepare(read, strict=strict)
        return self.segment(prepared, Wanted(tta, probabilities, uncertainty, memory_limit_bytes))

    def prepare(self, read: Callable[[], Volume], *, strict: bool = False) -> Prepared:
        """Reads a scan and brings it to the network's grid; `read` may be called again for a preview.

        Raises InputError: what `read` raises, for channels that are not the plan's, and, if `strict`, for a scan that
        does not look like the training scans.
        """
        volume = check_channels(read(), self.plan)
        verdict = judge(volume, self.plan, self.fingerprint)
        if strict and verdict.state == "warned":
            raise InputError(f"the scan: {'; '.join(verdict.warnings)}; refused, as strict asks", hint="strict")
        image, placement = preprocess_image(volume, self.plan)
        nothing = np.broadcast_to(np.uint8(0), (1, *volume.shape))
        return Prepared(image, placement, volume.with_data(nothing, label_names={}, notes=(), doubts=()), verdict, read)

    def budget(self, prepared: Prepared, wanted: Wanted, *, prefetch: bool = False) -> Budget:
        """The route of a prediction and its expected peak memory. prefetch: another scan is read meanwhile.

        Raises InputError where the limit cannot be met.
        """
        grid, scan = prepared.placement.shape, prepared.placement.source_shape
        following = next_scan_bytes(grid, scan, self.plan.in_channels) if prefetch else 0
        per_voxel = result_bytes(self.plan, probabilities=wanted.probabilities, uncertainty=wanted.uncertainty)
        demand = Demand(grid, scan, per_voxel, self.network_bytes + following)
        return choose_route(demand, self.plan, wanted.memory_limit_bytes)

    def segment(self, prepared: Prepared, wanted: Wanted, route: Route | None = None) -> Prediction:
        """Segments a prepared scan. Raises InputError where the memory limit cannot be met."""
        plan = self.plan
        route = route or self.budget(prepared, wanted).route
        views = mirror_views(plan.inference.mirror_axes) if wanted.tta else [()]
        engine = combined([self.engine], views, regions=plan.has_regions)
        restored = Restored.blank(
            prepared.placement, plan, with_probabilities=wanted.probabilities, with_uncertainty=wanted.uncertainty
        )
        voxels = np.zeros(plan.outputs, dtype=np.int64)
        confidence = ConfidenceSum.start(plan)
        columns = prepared.placement.shape[route.axes[1]]
        for low, high in route.pieces:
            # One column more than the piece has: voxels behind its last one lie between the two.
            slabs = sweep(prepared.image, engine, plan, route, (low, min(high + 1, columns)))
            figures = restore_piece(slabs, prepared.placement, plan, route, (low, high), restored)
            voxels += figures.voxels
            confidence = confidence.plus(figures.confidence)
        labels = apply_rules(restored.labels, plan, prepared.grid.voxel_ml)
        if labels is not restored.labels:
            voxels = _voxels_of(labels, plan)
        grid = prepared.grid
        names = {value: name for name, value in plan.written_values.items()}
        counts = (voxels if plan.has_regions else voxels[1:]).tolist()
        return Prediction(
            labels=grid.with_data(labels[None], label_names=names),
            volumes_ml={name: count * grid.voxel_ml for name, count in zip(plan.written_values, counts, strict=True)},
            confidence=confidence.mean(),
            verdict=prepared.verdict,
            scan=prepared.scan,
            probabilities=None if restored.probabilities is None else grid.with_data(restored.probabilities),
            uncertainty=None if restored.uncertainty is None else grid.with_data(restored.uncertainty[None]),
        )


def predict_scores(image: Float, plan: Plan, engine: Engine) -> Float:
    """Probabilities [J, X, Y, Z] of a prepared image [C, X, Y, Z] on the network's grid, all in memory."""
    x, y, z = image.shape[1:]
    slabs = [slab.copy() for slab in sweep(image, engine, plan, Route.whole((x, y, z)), (0, y))]
    return probabilities(np.concatenate(slabs, axis=1), regions=plan.has_regions)


def check_channels(volume: Volume, plan: Plan, source: str = "the scan") -> Volume:
    """The volume, if its channels are the plan's and none is constant. Raises InputError, naming `source`."""
    names = [channel.name for channel in plan.channels]
    if len(volume.data) != len(names):
        found = f"{len(volume.data)} channel{'' if len(volume.data) == 1 else 's'}"
        raise InputError(f"{source}: has {found}; the model expects {len(names)} ({', '.join(names)})")
    for name, data in zip(names, volume.data, strict=True):
        if data.min() == data.max():
            raise InputError(f"{source}: channel {name!r} is constant: every voxel is {data.flat[0]:g}")
    return volume


def _voxels_of(labels: NDArray[np.unsignedinteger], plan: Plan) -> NDArray[np.int64]:
    """Voxels [J] of each class, background first, or of each region, in label values [X, Y, Z]."""
    largest = max(plan.written_values.values())
    # Plane by plane: counting turns its input to eight bytes a voxel.
    found = np.sum([np.bincount(plane.ravel(), minlength=largest + 1) for plane in labels.T], axis=0)
    extents = extent_values(plan)
    counts = [sum(int(found[value]) for value in extents[name]) for name in plan.written_values]
    return np.array(counts if plan.has_regions else [labels.size - sum(counts), *counts])


def _from_array(data: Scan | ArrayLike, affine: ArrayLike) -> Volume:
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


def _as_volume(scan: Scan, plan: Plan, assume_affine: bool, accept_shear: bool, transform: Transform | None) -> Volume:
    """Reads the scan. Raises InputError that names the file."""
    if isinstance(scan, Volume):
        if not np.isfinite(scan.data).all():
            raise InputError("the scan: has voxels that are NaN or infinite; expected numbers")
        return scan
    paths = [Path(scan)] if isinstance(scan, str | Path) else [Path(path) for path in scan]
    if not paths:
        raise InputError("no file to predict; expected one, or one for each channel")
    chosen = transform or plan.transform
    read = partial(read_volume, assume_affine=assume_affine, accept_shear=accept_shear, transform=chosen)
    return check_channels(stack_channels([(path, read(path)) for path in paths]), plan, str(paths[0]))
