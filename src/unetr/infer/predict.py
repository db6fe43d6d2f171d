"""Predict: a scan in, a segmentation on its own grid out. One path serves the command and Python."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Unpack, cast

import numpy as np
from numpy.typing import NDArray

from unetr.core.machine.allowance import memory_limit
from unetr.core.plan.fingerprint import Fingerprint
from unetr.core.plan.schema import Plan
from unetr.core.space.geometry import Placement
from unetr.core.space.volume import Volume
from unetr.errors import InputError
from unetr.infer.options import EngineOptions, PredictKeywords, PredictOptions
from unetr.infer.route import ChosenRoute, Demand, choose_route, next_scan_bytes, result_bytes, windows_of
from unetr.infer.rules import apply_rules, extent_values
from unetr.infer.scan import Scan, blaming, check_channels, given_scan, name_of, naming, volume_from_array
from unetr.infer.sweep.combine import combined, mirror_views
from unetr.infer.sweep.restore import Restored, restore_piece
from unetr.infer.sweep.scores import probabilities
from unetr.infer.sweep.slabs import Route, sweep
from unetr.infer.sweep.uncertainty import ConfidenceSum
from unetr.infer.sweep.watched import WindowObserver, watched
from unetr.infer.sweep.windows import Engine, Float
from unetr.infer.verdict import Verdict, judge
from unetr.io.results import write_result
from unetr.prepare.preprocess import preprocess_image

if TYPE_CHECKING:
    from ipyniivue import NiiVue
    from numpy.typing import ArrayLike

_UNWATCHED = WindowObserver()
_AUTO = EngineOptions()


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A scan that is ready for the network; its own voxels are not needed any more.

    image: float32 [C, X, Y, Z] on the plan's grid, and its placement. grid: the scan without voxels (all zero, in no
    memory). scan: gets the voxels again. path: of its first file, None for a Volume.
    """

    image: Float
    placement: Placement
    grid: Volume
    verdict: Verdict
    scan: Callable[[], Volume] = field(repr=False)
    path: Path | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """A segmentation on the scan's own grid.

    labels: Volume [1, X, Y, Z] of label values, with their names. volumes_ml: name -> volume of each foreground class
    or region. confidence: name -> mean probability, on the network's grid, of the voxels given to it, NaN for what does
    not occur. verdict: whether the scan looks like the training scans. probabilities: Volume [J, X, Y, Z], and
    uncertainty: Volume [1, X, Y, Z] from 0 (sure) to 1 (a guess), both float32, where they were asked for.
    model: the name of what was learned, as DICOM results repeat it.
    """

    labels: Volume
    volumes_ml: dict[str, float]
    confidence: dict[str, float]
    verdict: Verdict
    scan: Callable[[], Volume] = field(repr=False)
    probabilities: Volume | None = None
    uncertainty: Volume | None = None
    model: str = ""

    def save(self, path: str | Path, format: str | None = None) -> Path:  # noqa: A002  # the word of the command line
        """Writes the labels, atomically and verified.

        format: "nifti" (or another volume that the name's end says), and for a scan that was DICOM "dicom-seg" or
        "rtstruct"; None for what the end says: .nii.gz, .nii, .nrrd, .mha, .seg.dcm, .rtstruct.dcm.
        Raises InputError for a format that does not fit the scan or the name, MachineError where the machine refuses.

        >>> prediction = unetr.load("hippocampus").predict("scan.nii.gz")
        >>> prediction.save("results/hippocampus.nrrd").name
        'hippocampus.nrrd'
        """
        write_result(Path(path), self.labels, format, self.model)
        return Path(path)

    def preview(self, path: str | Path) -> Path:
        """Writes a PNG of the segmentation over the scan's first channel. Raises MachineError."""
        from unetr.draw.picture import overlay, write_png

        write_png(Path(path), overlay(self.scan(), self.labels))
        return Path(path)

    def show(self, height: int = 480) -> NiiVue:
        """A view of the segmentation over the scan's first channel, for a notebook: three planes and 3D.

        height: in pixels. Nothing is written and nothing is fetched. Raises MachineError where the package ipyniivue is
        missing.

        >>> widget = unetr.load("hippocampus").predict("scan.nii.gz").show()
        >>> [volume.name for volume in widget.volumes]
        ['scan.nii', 'labels.nii']
        """
        from unetr.draw.notebook import view

        return view(self.scan(), self.labels, height)


@dataclass(frozen=True, slots=True, eq=False)
class Segmenter:
    """A plan and an engine that runs its network; make one with `unetr.load`.

    fingerprint: of the training scans, where it is known. network_bytes: memory the engine takes when it runs.
    choice: which engine, device and precision, and why, for people. source: the model file's name, for errors.
    files: what it was opened from, and asked: with which engine.
    """

    plan: Plan
    engine: Engine
    fingerprint: Fingerprint | None = None
    network_bytes: int = 0
    choice: str = ""
    source: str = "the model"
    files: tuple[Path, ...] = ()
    asked: EngineOptions = _AUTO

    def predict(
        self,
        scan: Scan | ArrayLike,
        affine: ArrayLike | None = None,
        *,
        observer: WindowObserver = _UNWATCHED,
        **options: Unpack[PredictKeywords],
    ) -> Prediction:
        """Segments one scan: a file, a DICOM folder, one file per channel, a Volume, or an array and its affine.

        An array is [X, Y, Z] or [C, X, Y, Z]. affine: 4x4, voxel index -> RAS millimetres. options: those of
        `PredictOptions`. observer: hears of each window, and may end the work with StoppedError.
        Raises InputError for a scan that cannot be used, or not within the memory.

        >>> segmenter = unetr.load("hippocampus")
        >>> found = segmenter.predict("scan.nii.gz", tta=True)
        >>> sorted(found.volumes_ml)
        ['Anterior', 'Posterior']
        >>> found.labels.shape == unetr.read_volume("scan.nii.gz").shape
        True
        """
        chosen = PredictOptions(**options)
        given = cast("Scan", scan) if affine is None else volume_from_array(scan, affine)
        return self.segment(self.prepare(given, chosen), chosen, observer=observer)

    def prepare(self, scan: Scan, options: PredictOptions, most_bytes: int | None = None) -> Prepared:
        """Reads a scan, judges it and brings it to the network's grid.

        most_bytes: what may be taken for it where another scan is segmented meanwhile, None where none is.
        Raises InputError that names the file: for what cannot be read, for channels that are not the plan's, and where
        `strict` for a scan that does not look like the training scans.
        """
        given = given_scan(scan, self.plan, options)
        with memory_limit(options.memory_limit_bytes, most_bytes=most_bytes), blaming(given.path):
            volume = check_channels(given.read(), self.plan)
            verdict = judge(volume, self.plan, self.fingerprint)
            if options.strict and verdict.state == "warned":
                raise InputError(f"the scan: {'; '.join(verdict.warnings)}; refused, as strict asks", hint="strict")
            image, placement = preprocess_image(volume, self.plan)
        nothing = np.broadcast_to(np.uint8(0), (1, *volume.shape))
        grid = volume.with_data(nothing, label_names={}, notes=(), doubts=())
        return Prepared(image, placement, grid, verdict, given.read, given.path)

    def route(self, prepared: Prepared, options: PredictOptions, *, prefetch: bool = False) -> ChosenRoute:
        """How a scan will be swept, and the peak memory to expect. prefetch: another scan is read meanwhile.

        Raises InputError where the limit cannot be met.
        """
        grid, scan = prepared.placement.shape, prepared.placement.source_shape
        following = next_scan_bytes(grid, scan, self.plan.in_channels) if prefetch else 0
        per_voxel = result_bytes(self.plan, probabilities=options.probabilities, uncertainty=options.uncertainty)
        demand = Demand(grid, scan, per_voxel, self.network_bytes + following)
        with naming(prepared.path):
            return choose_route(demand, self.plan, options.memory_limit_bytes)

    def segment(
        self,
        prepared: Prepared,
        options: PredictOptions,
        route: Route | None = None,
        observer: WindowObserver = _UNWATCHED,
    ) -> Prediction:
        """Segments a prepared scan. Raises InputError where the memory limit cannot be met.

        observer: hears of each window, in this thread, and may end the work with StoppedError.
        """
        plan = self.plan
        route = route or self.route(prepared, options).route
        restored = Restored.blank(
            prepared.placement, plan, with_probabilities=options.probabilities, with_uncertainty=options.uncertainty
        )
        views = mirror_views(plan.inference.mirror_axes) if options.tta else [()]
        windows = windows_of(route, prepared.placement.shape, plan)
        engine = combined([self.engine], views, regions=plan.has_regions)
        engine = watched(engine, observer, windows, name_of(prepared.path))
        with naming(prepared.path):
            voxels, confidence = _swept(prepared, engine, plan, route, restored)
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
            model=plan.dataset,
        )


def predict_scores(image: Float, plan: Plan, engine: Engine) -> Float:
    """Probabilities [J, X, Y, Z] of a prepared image [C, X, Y, Z] on the network's grid, all in memory."""
    x, y, z = image.shape[1:]
    slabs = [slab.copy() for slab in sweep(image, engine, plan, Route.whole((x, y, z)), (0, y))]
    return probabilities(np.concatenate(slabs, axis=1), regions=plan.has_regions)


def _swept(
    prepared: Prepared, engine: Engine, plan: Plan, route: Route, restored: Restored
) -> tuple[NDArray[np.int64], ConfidenceSum]:
    """Sweeps the image and restores it; returns voxels [J] of each class or region, and the confidence."""
    voxels = np.zeros(plan.outputs, dtype=np.int64)
    confidence = ConfidenceSum.start(plan)
    columns = prepared.placement.shape[route.axes[1]]
    for low, high in route.pieces:
        # One column more than the piece has: voxels behind its last one lie between the two.
        slabs = sweep(prepared.image, engine, plan, route, (low, min(high + 1, columns)))
        figures = restore_piece(slabs, prepared.placement, plan, route, (low, high), restored)
        voxels += figures.voxels
        confidence = confidence.plus(figures.confidence)
    return voxels, confidence


def _voxels_of(labels: NDArray[np.unsignedinteger], plan: Plan) -> NDArray[np.int64]:
    """Voxels [J] of each class, background first, or of each region, in label values [X, Y, Z]."""
    largest = max(plan.written_values.values())
    # Plane by plane: counting turns its input to eight bytes a voxel.
    found = np.sum([np.bincount(plane.ravel(), minlength=largest + 1) for plane in labels.T], axis=0)
    extents = extent_values(plan)
    counts = [sum(int(found[value]) for value in extents[name]) for name in plan.written_values]
    return np.array(counts if plan.has_regions else [labels.size - sum(counts), *counts])
