"""The reader's tasks: what a scan is, how the page shows it, other forms of a result, and corrections by people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unetr.core.files.digest import file_sha256
from unetr.core.space.frames import Transform
from unetr.core.space.geometry import orientation_of
from unetr.errors import InputError
from unetr.queue.tasks.dicom_forms import DICOM_FORMS, Made
from unetr.queue.tasks.words import Plain

if TYPE_CHECKING:
    from unetr.core.space.volume import Volume
    from unetr.queue.tasks.talk import Talk

_KINDS = {".gz": "nifti", ".nii": "nifti", ".nrrd": "nrrd", ".mha": "mha"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A scan and how it is read. files: of the scan, or its one folder; the rest is as in PredictOptions."""

    files: tuple[Path, ...]
    series: tuple[str, ...] = ()
    assume_affine: bool = False
    transform: Transform | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewRequest:
    """out: the NIfTI to write."""

    source: Source
    out: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class FormRequest:
    """labels: a label file on the scan's grid. form: a key of DICOM_FORMS. made_by, identity, summary: see Made.
    names: name -> value."""

    source: Source
    labels: Path
    names: Mapping[str, int]
    form: str
    made_by: str
    out: Path
    identity: str = ""
    summary: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckRequest:
    """given: what a person drew, whose name ends as its content does. like: the labels that it corrects.

    meant: the model's value for each number in `given`, from 0 on; empty where the numbers are the values.
    """

    given: Path
    like: Path
    names: Mapping[str, int]
    out: Path
    meant: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class ReadyRequest:
    """Nothing but to be ready."""


def import_readers() -> None:
    """Imports what the first scan needs to be read, so that nobody waits for that half a second."""
    import unetr.io.dicom.pixels
    import unetr.io.dicom.series.stack
    import unetr.io.dicom.volume
    import unetr.io.formats.nifti
    import unetr.prepare.datasets.cases  # noqa: F401


def ready(request: ReadyRequest, talk: Talk) -> dict[str, Any]:
    """For the start, before anybody asks."""
    import_readers()
    return {}


def describe(request: Source, talk: Talk) -> dict[str, Any]:
    """The facts of a scan, which is read to its end; of DICOM, of whose headers all are. Raises InputError."""
    from unetr.io import is_dicom

    first, plain = request.files[0], Plain(request.files)
    with plain.errors():
        return _dicom_facts(first, plain) if is_dicom(first) else _volume_facts(request, plain)


def view(request: ViewRequest, talk: Talk) -> dict[str, Any]:
    """Writes the scan as it is predicted on: [C, X, Y, Z] on its own grid."""
    from unetr.io import write_volume

    with Plain(request.source.files, [request.out]).errors():
        write_volume(request.out, _read(request.source))
    return {}


def form(request: FormRequest, talk: Talk) -> dict[str, Any]:
    """Writes labels in another form."""
    from unetr.io import read_label
    from unetr.io.scan import onto_grid

    with Plain(request.source.files, [request.labels, request.out]).errors():
        scan = _read(request.source)
        labels = onto_grid(scan, read_label(request.labels), request.source.files[0], request.labels)
        made = Made(
            labels=_named(replace(labels, source=scan.source), request.names),
            scan=lambda: scan,
            made_by=request.made_by,
            identity=request.identity,
            summary=request.summary,
        )
        DICOM_FORMS[request.form].write(request.out, made)
    return {"bytes": request.out.stat().st_size, "sha256": file_sha256(request.out)}


def check(request: CheckRequest, talk: Talk) -> dict[str, Any]:
    """Writes a person's labels anew, where they are on the grid of the model's and hold known values alone."""
    import numpy as np

    from unetr.io import read_label, write_volume
    from unetr.io.scan import onto_grid

    with Plain([], [request.given, request.like, request.out]).errors():
        before = read_label(request.like)
        known = range(len(request.meant)) if request.meant else {0, *request.names.values()}
        drawn = read_label(request.given, known)
        if request.meant:
            drawn = drawn.with_data(np.array(request.meant, before.data.dtype)[drawn.data])
        drawn = onto_grid(before, drawn, Path("the result"), request.given)
        write_volume(request.out, _named(replace(drawn, notes=(), doubts=()), request.names))
    return {"bytes": request.out.stat().st_size, "sha256": file_sha256(request.out)}


def _read(source: Source) -> Volume:
    from unetr.prepare.datasets.cases import read_scan

    return read_scan(source.files, series=source.series, assume_affine=source.assume_affine, transform=source.transform)


def _named(labels: Volume, names: Mapping[str, int]) -> Volume:
    return labels.with_data(labels.data, label_names={value: name for name, value in names.items()})


def _volume_facts(request: Source, plain: Plain) -> dict[str, Any]:
    needs = []
    try:
        scan = _read(replace(request, transform=request.transform or "sform"))
    except InputError as error:
        if error.hint != "assume_affine":
            raise
        needs = [error.hint]
        scan = _read(replace(request, assume_affine=True))
    return {
        "kind": _KINDS[request.files[0].suffix],
        "channels": len(scan.data),
        "shape": list(scan.shape),
        "spacing_mm": [round(length, 6) for length in scan.spacing_mm],
        "orientation": orientation_of(scan.affine),
        "type": str(scan.data.dtype),
        "needs": needs,
        "notes": plain.texts([*scan.notes, *scan.doubts]),
    }


def _dicom_facts(path: Path, plain: Plain) -> dict[str, Any]:
    from unetr.io.dicom.volume import list_series

    found = list_series(path)
    if len(found) == 1 and found[0].shape is None:
        raise InputError(found[0].remarks[0])
    series = [
        {
            "uid": each.uid,
            "modality": each.modality,
            "count": each.instances,
            "slices": each.slices,
            "shape": None if each.shape is None else list(each.shape),
            "spacing_mm": None if each.spacing_mm is None else [round(length, 6) for length in each.spacing_mm],
            "notes": plain.texts(each.remarks),
            "missing": plain.texts(each.missing),
        }
        for each in found
    ]
    facts: dict[str, Any] = {"kind": "dicom", "channels": 1, "series": series, "needs": []}
    if len(series) == 1:
        return facts | {name: series[0][name] for name in ("shape", "spacing_mm", "modality", "notes", "missing")}
    return facts | {"needs": ["series"]}
