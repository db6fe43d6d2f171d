"""The forms of a result in DICOM: what each is made of, and how its file's name ends.

The forms of `unetr.io.results` need the labels alone. The picture needs the scan, the numbers and the verdict, too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unetr.errors import InputError
from unetr.io.results import RESULT_FORMATS, write_result

if TYPE_CHECKING:
    from unetr.core.space.volume import Volume

_USE = "For research. Not a medical device, not for diagnosis. Not checked by a person."
_CORRECTED_USE = "For research. Not a medical device, not for diagnosis."
_LIKE_TRAINING = "The scan looks like the scans that the model was trained on."
_UNKNOWN = "It is not known whether the model was made for scans like this one."
_CORRECTED = "A person has corrected these labels."


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Made:
    """A result. labels: [1, X, Y, Z] with names and their DICOM source. scan: reads the scan, on the same grid.

    made_by: the model's title. identity: what the UIDs follow from. summary: as in JobRecord, empty for labels that a
    person has corrected.
    """

    labels: Volume
    scan: Callable[[], Volume]
    made_by: str
    identity: str
    summary: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DicomForm:
    """ending: of the file's name. write: atomic and verified; raises InputError, MachineError."""

    ending: str
    write: Callable[[Path, Made], None]


def _write_labels(form: str, path: Path, made: Made) -> None:
    write_result(path, made.labels, form, made.made_by, made.identity)


def _words(state: object) -> str:
    """What a verdict without warnings says."""
    return _LIKE_TRAINING if state == "ok" else _UNKNOWN


def _write_capture(path: Path, made: Made) -> None:
    from unetr.core.version import __version__
    from unetr.draw.sheet import Sheet, sheet_pixels
    from unetr.io.dicom.results.capture import write_capture

    told = made.summary
    verdict = told.get("verdict", {})
    state, warnings = verdict.get("state"), list(verdict.get("warnings", ()))
    title = f"Segmentation by unetr {made.made_by}"
    sheet = Sheet(
        title=title,
        use=_USE if told else _CORRECTED_USE,
        volumes_ml=told.get("volumes_ml") or _volumes_ml(made.labels),
        confidence=told.get("confidence", {}),
        words=warnings or [_words(state) if told else _CORRECTED],
        warned=bool(warnings) or (bool(told) and state != "ok"),
    )
    write_capture(
        path,
        made.labels,
        sheet_pixels(made.scan(), made.labels, sheet),
        algorithm=f"unetr {made.made_by}",
        algorithm_version=__version__,
        description=f"{title}: its labels over three slices, volumes and verdict. {sheet.use}",
        identity=made.identity,
    )


def _volumes_ml(labels: Volume) -> dict[str, float]:
    names = labels.label_names.items()
    return {name: float((labels.data == value).sum() * labels.voxel_ml) for value, name in names if value != 0}


DICOM_FORMS: dict[str, DicomForm] = {
    **{
        name: DicomForm(form.ending, partial(_write_labels, name))
        for name, form in RESULT_FORMATS.items()
        if form.ending
    },
    "capture": DicomForm(".capture.dcm", _write_capture),
}


def known_form(name: str) -> str:
    """The name, if it is one of DICOM_FORMS. Raises InputError."""
    if name not in DICOM_FORMS:
        raise InputError(f"form {name}: is unknown; expected one of {', '.join(DICOM_FORMS)}")
    return name
