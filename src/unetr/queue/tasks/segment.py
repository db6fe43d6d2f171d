"""The engine's task: segment one scan, write what comes of it, and say which files these are."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unetr.core.files.atomic import write_text
from unetr.core.files.digest import file_sha256
from unetr.core.observer import stop_if_asked
from unetr.core.version import __version__
from unetr.errors import InputError
from unetr.queue.tasks.dicom_forms import DICOM_FORMS, Made
from unetr.queue.tasks.reading import import_readers
from unetr.queue.tasks.words import Plain

if TYPE_CHECKING:
    from unetr.infer.predict import Prediction, Segmenter
    from unetr.queue.tasks.talk import Talk

# Segmenters that are kept, each with its weights in memory.
_MOST_WARM = 3
_WARM: OrderedDict[tuple[str, ...], Segmenter] = OrderedDict()


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmRequest:
    """A model, and what runs it. sha256: what its files must have; see `joined_sha256`."""

    files: tuple[Path, ...]
    sha256: str
    engine: str = "auto"
    device: str = "auto"
    precision: str = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentRequest:
    """source: files of the scan, or its one folder. out: the folder for the results, empty. options: those of
    PredictOptions by name, None where a model only. forms: keys of DICOM_FORMS that are made beside the labels.
    identity: what their UIDs follow from."""

    model: WarmRequest
    name: str
    source: tuple[Path, ...]
    out: Path
    options: Mapping[str, Any]
    forms: tuple[str, ...] = ()
    identity: str = ""


def joined_sha256(digests: Sequence[str]) -> str:
    """Of a model's files: the digest of the one, or of all their digests."""
    return digests[0] if len(digests) == 1 else hashlib.sha256("\n".join(digests).encode()).hexdigest()


def warm(request: WarmRequest, talk: Talk) -> dict[str, Any]:
    """Opens a model before it is needed, and does once what takes longer the first time: a window, a picture."""
    import numpy as np

    from unetr.core.space.volume import Volume
    from unetr.draw.picture import overlay

    segmenter = _segmenter(request)
    import_readers()
    plan = segmenter.plan
    segmenter.engine(np.zeros((1, plan.in_channels, *plan.window), np.float32))
    nothing = Volume(np.zeros((1, 8, 8, 8), np.uint8), np.eye(4))
    overlay(nothing, nothing)
    return {"choice": segmenter.choice}


def segment(request: SegmentRequest, talk: Talk) -> dict[str, Any]:
    """Returns `results`, files in the folder as ResultFile has them, and `summary`. Raises UnetrError."""
    plain = Plain(request.source, [request.out / "stats.json", *request.model.files])
    with plain.errors():
        return _segment(request, talk, plain)


def _segment(request: SegmentRequest, talk: Talk, plain: Plain) -> dict[str, Any]:
    started = time.monotonic()
    _check_forms(request)
    segmenter = _segmenter(request.model)
    stop_if_asked(talk, "opening the model")
    source = request.source[0] if len(request.source) == 1 else request.source
    options = dict(request.options)
    options["series"] = tuple(options.get("series", ()))
    prediction = segmenter.predict(source, observer=talk, **options)
    stop_if_asked(talk, "writing the result")
    summary = _summary(request, prediction, plain)
    files = _write(request, prediction, summary, talk)
    summary |= {"seconds": round(time.monotonic() - started, 3)}
    write_text(request.out / "stats.json", json.dumps(summary, indent=1, allow_nan=False) + "\n")
    return {"results": [_file(request.out, *each) for each in (*files, ("stats", "stats.json"))], "summary": summary}


def _segmenter(request: WarmRequest) -> Segmenter:
    """One that is warm, or a fresh one. Raises InputError where a file has changed since the model was offered."""
    from unetr.infer.load import ensemble, segmenter_for
    from unetr.infer.options import EngineOptions
    from unetr.model.open_model import open_model

    key = (request.sha256, request.engine, request.device, request.precision)
    if key not in _WARM:
        opened = [open_model(path) for path in request.files]
        if joined_sha256([each.model.sha256 for each in opened]) != request.sha256:
            raise InputError(f"{request.files[0].name}: was changed since the server started; start the server again")
        asked = EngineOptions(request.engine, request.device, request.precision)
        while len(_WARM) >= _MOST_WARM:
            _WARM.popitem(last=False)
        _WARM[key] = ensemble([segmenter_for(each, asked) for each in opened])
    _WARM.move_to_end(key)
    return _WARM[key]


def _check_forms(request: SegmentRequest) -> None:
    """Raises InputError before the work where the scan has no DICOM that a result could refer to."""
    from unetr.io import is_dicom

    if request.forms and not is_dicom(request.source[0]):
        raise InputError(f"{request.source[0].name}: is no DICOM, which {request.forms[0]} needs", hint="format")


def _write(
    request: SegmentRequest, prediction: Prediction, summary: Mapping[str, Any], talk: Talk
) -> list[tuple[str, str]]:
    """Form and name of each file, in the order in which they were written."""
    from unetr.io import write_volume

    files = [("labels", "labels.nii.gz"), ("preview", "preview.png")]
    prediction.save(request.out / "labels.nii.gz")
    prediction.preview(request.out / "preview.png")
    if prediction.uncertainty is not None:
        files.append(("uncertainty", "uncertainty.nii.gz"))
        write_volume(request.out / "uncertainty.nii.gz", prediction.uncertainty)
    made = Made(
        labels=prediction.labels,
        scan=prediction.scan,
        made_by=prediction.model,
        identity=request.identity,
        summary=summary,
    )
    for form in request.forms:
        stop_if_asked(talk, "writing the result")
        files.append((form, f"labels{DICOM_FORMS[form].ending}"))
        DICOM_FORMS[form].write(request.out / files[-1][1], made)
    return files


def _summary(request: SegmentRequest, prediction: Prediction, plain: Plain) -> dict[str, Any]:
    grid, verdict = prediction.labels, prediction.verdict
    return {
        "model": request.name,
        "model_sha256": request.model.sha256,
        "version": __version__,
        "volumes_ml": prediction.volumes_ml,
        "voxels": {name: round(ml / grid.voxel_ml) for name, ml in prediction.volumes_ml.items()},
        "confidence": {name: None if math.isnan(p) else round(p, 4) for name, p in prediction.confidence.items()},
        "verdict": {
            "state": verdict.state,
            "warnings": plain.texts(verdict.warnings),
            "notes": plain.texts(verdict.notes),
        },
        "shape": list(grid.shape),
        "spacing_mm": [round(length, 6) for length in grid.spacing_mm],
    }


def _file(folder: Path, form: str, name: str) -> dict[str, Any]:
    path = folder / name
    return {"form": form, "name": name, "bytes": path.stat().st_size, "sha256": file_sha256(path)}
