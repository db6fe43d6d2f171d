"""unetr info: what a model file or a scan says about itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unetr.app.options import Json, TransformName, transform_named
from unetr.app.printing import print_json, print_table, say
from unetr.errors import InputError

if TYPE_CHECKING:
    from unetr.core.machine.allowance import Claim
    from unetr.core.space.frames import Transform

# Larger scans are not read to tell their smallest and largest number, nor are larger headers of DICOM.
_MOST_READ = 3 * 10**8


def info(
    path: Annotated[
        Path,
        typer.Argument(
            help="A model file, the name of a shipped one, a scan, DICOM, or a folder of these.", show_default=False
        ),
    ],
    transform: TransformName = None,
    as_json: Json = False,
) -> None:
    """Show the facts of a model, a scan, DICOM or a folder. A model file is verified first.

    Of DICOM, nothing that names the patient is shown.

    Example: unetr info model.safetensors
    """
    from unetr.io import is_dicom, is_scan

    if not is_scan(path) and is_dicom(path):
        _show_series(path, as_json)
        return
    if path.is_dir() and _show_folder(path, as_json):
        return
    if path.is_file() and path.suffix.lower() == ".zip":
        raise InputError(f"{path}: is an archive without DICOM; expected a model file, a scan, or DICOM; unpack it")
    facts = _scan_facts(path, transform_named(transform)) if is_scan(path) else _model_facts(path)
    if as_json:
        print_json(facts)
    else:
        print_table(path.name, ("fact", "value"), [(name.replace("_", " "), _text(facts[name])) for name in facts])


def _show_series(path: Path, as_json: bool) -> None:
    """The CT, MR and PET series in a DICOM file, folder or zip, from their headers alone."""
    from unetr.core.machine.allowance import memory_limit
    from unetr.core.machine.memory import resident_bytes
    from unetr.io.dicom.volume import list_series

    with memory_limit(resident_bytes() + _MOST_READ):
        found = list_series(path)
    rows = [
        {
            "series": each.uid,
            "modality": each.modality,
            "description": each.description,
            "slices": each.slices,
            "shape": None if each.shape is None else list(each.shape),
            "spacing_mm": None if each.spacing_mm is None else [round(length, 6) for length in each.spacing_mm],
            "remarks": list(each.remarks),
        }
        for each in found
    ]
    if as_json:
        print_json({"series": rows})
        return
    names = ("series", "modality", "description", "slices", "shape", "spacing_mm")
    header = [name.replace("_", " ") for name in names]
    print_table(path.name, header, [[_text(row[name]) for name in names] for row in rows])
    for each in found:
        for remark in each.remarks:
            say(f"unetr: {remark}")


def _show_folder(path: Path, as_json: bool) -> bool:
    """What `unetr predict` would make of a folder; False where nothing in it looks like a scan."""
    from unetr.io import is_scan
    from unetr.prepare.datasets.folder_inputs import look_into

    found = look_into(path, 1)
    if not found.claims and not found.problems:
        return False
    cases = [(name, first) for name, claimed in sorted(found.claims.items()) for first, *_ in claimed]
    if as_json:
        print_json({"scans": {name: str(first) for name, first in cases}, "problems": found.problems})
        return True
    rows = [(name, "file" if is_scan(first) else "DICOM", str(first.relative_to(path))) for name, first in cases]
    print_table(path.name, ("scan", "form", "where"), rows)
    for problem in found.problems.values():
        say(f"unetr: {problem}")
    return True


def _text(value: Any) -> str:
    """A fact for people: 1.5, 1.5, 2; anterior 1, posterior 2."""
    if isinstance(value, dict):
        return "; ".join(f"{key}: {_text(item)}" for key, item in value.items()) or "none"
    if isinstance(value, list) and value and isinstance(value[0], list):
        return "; ".join(_text(row) for row in value)
    if isinstance(value, list):
        return ", ".join(_text(item) for item in value)
    if value is None:
        return "undefined"
    return f"{value:.6g}" if isinstance(value, float) else str(value) or "not stated"


def _model_facts(path: Path) -> dict[str, Any]:
    import numpy as np

    from unetr.model.file.model_file import read_model
    from unetr.model.shipped import find_model

    model = read_model(find_model(path))
    plan = model.plan
    return {
        "dataset": plan.dataset,
        "labels": plan.labels,
        "pretraining": {} if plan.pretraining is None else plan.pretraining.model_dump(),
        "regions": {region.name: list(region.labels) for region in plan.regions},
        "channels": [channel.name for channel in plan.channels],
        "spacing_mm": list(plan.spacing_mm),
        "window": list(plan.window),
        "orientation": plan.orientation,
        "network": plan.network.preset,
        "parameters": sum(int(np.size(weight)) for weight in model.weights.values()),
        "metrics": model.metrics,
        "licence": model.licence,
        "created_by": model.created_by,
        "sha256": model.sha256,
    }


def _scan_facts(path: Path, transform: Transform | None) -> dict[str, Any]:
    """Facts of a scan; of one whose affines disagree both are shown, and the rest goes by the sform unless told."""
    from unetr.core.machine.allowance import DoesNotFitError, memory_limit
    from unetr.core.machine.memory import resident_bytes
    from unetr.core.space.geometry import orientation_of
    from unetr.io import header_affines, read_volume

    try:
        with memory_limit(resident_bytes() + _MOST_READ):
            volume = read_volume(path, transform=transform or "sform")
    except DoesNotFitError as error:
        if error.claim is None or error.claim.affine is None:
            raise
        say(f"unetr: {path}: too large to be read for its facts; what its header says, unverified")
        return _header_facts(error.claim)
    affines = header_affines(path)
    both = {name: affine[:3].round(6).tolist() for name, affine in affines.items()} if len(affines) > 1 else {}
    return {
        "channels": len(volume.data),
        "shape": list(volume.shape),
        "spacing_mm": [round(length, 6) for length in volume.spacing_mm],
        "orientation": orientation_of(volume.affine),
        "type": str(volume.data.dtype),
        "minimum": float(volume.data.min()),
        "maximum": float(volume.data.max()),
        **both,
        "notes": list(volume.notes),
        "label_names": {str(value): name for value, name in volume.label_names.items()},
    }


def _header_facts(claim: Claim) -> dict[str, Any]:
    """The same facts, without those that are in the voxels. Raises InputError for an affine that is none."""
    from unetr.core.space.geometry import orientation_of
    from unetr.core.space.volume import affine_spacing_mm
    from unetr.io.checks import check_affine

    affine = claim.affine
    if affine is None:
        raise ValueError("a claim without an affine has no facts")
    check_affine(Path("the scan"), affine, "affine", accept_shear=True)
    return {
        "channels": claim.channels,
        "shape": list(claim.shape),
        "spacing_mm": [round(length, 6) for length in affine_spacing_mm(affine)],
        "orientation": orientation_of(affine),
        "type": "float32" if claim.rescaled else claim.dtype.newbyteorder("=").name,
        "minimum": None,
        "maximum": None,
        "label_names": {},
    }
