"""unetr info: what a model file or a scan says about itself."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unetr.app.options import Json, TransformName, transform_named
from unetr.app.printing import print_json, print_table, say
from unetr.app.views.progress import OnScreen

if TYPE_CHECKING:
    from unetr.jobs.models.describe import DicomFacts, FolderFacts, ModelFacts, ScanFacts


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
    from unetr.jobs.models.describe import DicomFacts, FolderFacts, describe

    found = describe(path, transform_named(transform), OnScreen())
    if isinstance(found, DicomFacts):
        _show_series(path, found, as_json)
    elif isinstance(found, FolderFacts):
        _show_folder(path, found, as_json)
    else:
        _show_facts(path, found, as_json)


def _show_facts(path: Path, found: ModelFacts | ScanFacts, as_json: bool) -> None:
    facts: dict[str, Any] = {}
    for name, value in asdict(found).items():
        facts |= value if name == "affines" else {name: value}  # each affine is a fact
    if as_json:
        print_json(facts)
    else:
        print_table(
            path.name, ("fact", "value"), [(name.replace("_", " "), _shown(name, facts[name])) for name in facts]
        )


def _show_series(path: Path, found: DicomFacts, as_json: bool) -> None:
    rows = [
        {
            "series": each.uid,
            "modality": each.modality,
            "description": each.description,
            "slices": each.slices,
            "shape": each.shape,
            "spacing_mm": None if each.spacing_mm is None else [round(length, 6) for length in each.spacing_mm],
            "remarks": each.remarks,
        }
        for each in found.series
    ]
    if as_json:
        print_json({"series": rows})
        return
    names = ("series", "modality", "description", "slices", "shape", "spacing_mm")
    header = [name.replace("_", " ") for name in names]
    print_table(path.name, header, [[_shown(name, row[name]) for name in names] for row in rows])
    for each in found.series:
        for remark in each.remarks:
            say(f"unetr: {remark}")


def _show_folder(path: Path, found: FolderFacts, as_json: bool) -> None:
    from unetr.io import is_scan

    if as_json:
        print_json({"scans": {name: str(first) for name, first in found.scans}, "problems": found.problems})
        return
    rows = [(name, "file" if is_scan(first) else "DICOM", str(first.relative_to(path))) for name, first in found.scans]
    print_table(path.name, ("scan", "form", "where"), rows)
    for problem in found.problems.values():
        say(f"unetr: {problem}")


def _shown(name: str, value: Any) -> str:
    """A fact of this name for people; sizes in voxels as 96 × 96 × 96."""
    if name in ("shape", "window") and value:
        return " × ".join(str(size) for size in value)
    return f"{value:,}" if name == "parameters" else _text(value)


def _text(value: Any) -> str:
    """A fact for people: 1.5, 1.5, 2; anterior: 1; posterior: 2."""
    if isinstance(value, dict):
        return "; ".join(f"{key}: {_text(item)}" for key, item in value.items()) or "none"
    if isinstance(value, list | tuple) and value and isinstance(value[0], list | tuple):
        return "; ".join(_text(row) for row in value)
    if isinstance(value, list | tuple):
        return ", ".join(_text(item) for item in value) or "none"
    if value is None:
        return "undefined"
    return f"{value:.6g}" if isinstance(value, float) else str(value) or "not stated"
