"""What a model file, a scan, DICOM or a folder says about itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unetr.core.machine.allowance import Claim, DoesNotFitError, memory_limit
from unetr.core.machine.memory import resident_bytes
from unetr.core.observer import Observer
from unetr.core.space.frames import Transform
from unetr.core.space.geometry import orientation_of
from unetr.core.space.volume import affine_spacing_mm
from unetr.errors import InputError
from unetr.io import header_affines, is_dicom, is_scan, read_volume
from unetr.io.checks import check_affine

if TYPE_CHECKING:
    from unetr.io.dicom.volume import SeriesInfo

# Larger scans are not read to tell their smallest and largest number, nor are larger headers of DICOM.
_MOST_READ = 3 * 10**8


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """Of a model file that is whole. labels: name -> value. regions: name -> names of labels. metrics: of its
    training's validation. sha256: of what is in it."""

    dataset: str
    labels: Mapping[str, int]
    pretraining: Mapping[str, Any]
    regions: Mapping[str, Sequence[int]]
    channels: Sequence[str]
    spacing_mm: Sequence[float]
    window: Sequence[int]
    orientation: str
    network: str
    parameters: int
    metrics: Mapping[str, float]
    licence: str
    created_by: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanFacts:
    """Of a scan that was read; of one too large, minimum and maximum are None, and the rest is its header's word.

    affines: where a NIfTI has two, each [3, 4], rounded. label_names: value -> name.
    """

    channels: int
    shape: Sequence[int]
    spacing_mm: Sequence[float]
    orientation: str
    type: str
    minimum: float | None
    maximum: float | None
    affines: Mapping[str, Sequence[Sequence[float]]] = field(default_factory=dict)
    notes: Sequence[str] = ()
    label_names: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DicomFacts:
    """The CT, MR and PET series, from headers alone; nothing that names the patient."""

    series: Sequence[SeriesInfo]


@dataclass(frozen=True, slots=True)
class FolderFacts:
    """What a prediction would make of a folder. scans: case and its first file, or its folder of DICOM. problems: path
    -> why it is no case."""

    scans: Sequence[tuple[str, Path]]
    problems: Mapping[str, str]


def describe(
    path: Path, transform: Transform | None = None, observer: Observer | None = None
) -> ModelFacts | ScanFacts | DicomFacts | FolderFacts:
    """The facts of whatever is at `path`, which may be the name of a shipped model. Raises InputError, MachineError.

    transform: which affine of a NIfTI counts where its two disagree; the sform without it. The observer hears where
    facts are a header's word alone.
    """
    if not is_scan(path) and is_dicom(path):
        return _dicom(path)
    if path.is_dir() and (found := _folder(path)) is not None:
        return found
    if path.is_file() and path.suffix.lower() == ".zip":
        raise InputError(f"{path}: is an archive without DICOM; expected a model file, a scan, or DICOM; unpack it")
    return _scan(path, transform, observer or Observer()) if is_scan(path) else _model(path)


def _dicom(path: Path) -> DicomFacts:
    from unetr.io.dicom.volume import list_series

    with memory_limit(resident_bytes() + _MOST_READ):
        return DicomFacts(list_series(path))


def _folder(path: Path) -> FolderFacts | None:
    """None where nothing in it looks like a scan."""
    from unetr.prepare.datasets.folder_inputs import look_into

    found = look_into(path, 1)
    if not found.claims and not found.problems:
        return None
    scans = [(name, first) for name, claimed in sorted(found.claims.items()) for first, *_ in claimed]
    return FolderFacts(scans, found.problems)


def _model(path: Path) -> ModelFacts:
    import numpy as np

    from unetr.model.file.model_file import read_model
    from unetr.model.shipped import find_model

    model = read_model(find_model(path))
    plan = model.plan
    return ModelFacts(
        dataset=plan.dataset,
        labels=plan.labels,
        pretraining={} if plan.pretraining is None else plan.pretraining.model_dump(),
        regions=plan.region_values,
        channels=[channel.name for channel in plan.channels],
        spacing_mm=plan.spacing_mm,
        window=plan.window,
        orientation=plan.orientation,
        network=plan.network.preset,
        parameters=sum(int(np.size(weight)) for weight in model.weights.values()),
        metrics=model.metrics,
        licence=model.licence,
        created_by=model.created_by,
        sha256=model.sha256,
    )


def _scan(path: Path, transform: Transform | None, observer: Observer) -> ScanFacts:
    try:
        with memory_limit(resident_bytes() + _MOST_READ):
            volume = read_volume(path, transform=transform or "sform")
    except DoesNotFitError as error:
        if error.claim is None or error.claim.affine is None:
            raise
        observer.on_note(f"{path}: too large to be read for its facts; what its header says, unverified")
        return _header(error.claim)
    affines = header_affines(path)
    return ScanFacts(
        channels=len(volume.data),
        shape=volume.shape,
        spacing_mm=[round(length, 6) for length in volume.spacing_mm],
        orientation=orientation_of(volume.affine),
        type=str(volume.data.dtype),
        minimum=float(volume.data.min()),
        maximum=float(volume.data.max()),
        affines={name: affine[:3].round(6).tolist() for name, affine in affines.items()} if len(affines) > 1 else {},
        notes=volume.notes,
        label_names=volume.label_names,
    )


def _header(claim: Claim) -> ScanFacts:
    """The same facts, without those that are in the voxels. Raises InputError for an affine that is none."""
    affine = claim.affine
    if affine is None:
        raise ValueError("a claim without an affine has no facts")
    check_affine(Path("the scan"), affine, "affine", accept_shear=True)
    return ScanFacts(
        channels=claim.channels,
        shape=claim.shape,
        spacing_mm=[round(length, 6) for length in affine_spacing_mm(affine)],
        orientation=orientation_of(affine),
        type="float32" if claim.rescaled else claim.dtype.newbyteorder("=").name,
        minimum=None,
        maximum=None,
    )
