"""The first part of the demonstration: the model that comes with the package segments a scan that does, too."""

from __future__ import annotations

import time
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Final

from unetr.core.files.atomic import atomic_path
from unetr.core.observer import Observer, stop_if_asked
from unetr.evaluation.pairs import Pair, evaluate_pairs
from unetr.evaluation.results import Results, write_results
from unetr.infer.load import load
from unetr.jobs.demo.shown import Shown

MODEL: Final = "hippocampus"
CASE: Final = "hippocampus_328"
CITATION: Final = (
    "Antonelli et al., The Medical Segmentation Decathlon, Nature Communications 13, 4128 (2022); "
    f"Task04_Hippocampus, case {CASE}"
)
LICENCE: Final = "CC-BY-SA 4.0, both the scan and the model"
_FILES: Final = ("scan.nii.gz", "truth.nii.gz", "prediction.nii.gz", "prediction.png", "results.json", "results.csv")
_PAGE: Final = "report.html"


def shipped_scan_files(folder: Path) -> list[Path]:
    """Every file that `segment_shipped_scan` writes."""
    return [folder / name for name in (*_FILES, _PAGE)]


def segment_shipped_scan(folder: Path, observer: Observer) -> Shown:
    """Segments, scores and draws the shipped scan, of which the model has seen nothing, into the folder.

    Needs no torch. Raises StoppedError, MachineError.
    """
    started = time.monotonic()
    stop_if_asked(observer, "preparing the demonstration")
    observer.on_note("segmenting a hippocampus with the shipped model, which has not learned from this scan")
    scan, truth = (_copied(name, folder) for name in ("scan.nii.gz", "truth.nii.gz"))
    segmenter = load(MODEL)
    prediction = segmenter.predict(scan)
    label_file = prediction.save(folder / "prediction.nii.gz")
    results = evaluate_pairs([Pair(CASE, prediction=label_file, truth=truth)], names=segmenter.plan.labels)
    write_results(folder, results)
    picture = label_file.with_name("prediction.png")
    page = _write_page(folder, results, picture)
    return Shown(MODEL, results, label_file, picture, page, time.monotonic() - started)


def _copied(name: str, folder: Path) -> Path:
    """A file of the package, byte for byte, in the folder. Raises MachineError."""
    with atomic_path(folder / name) as temporary:
        temporary.write_bytes(_packaged(name).read_bytes())
    return folder / name


def _packaged(name: str) -> Traversable:
    return files("unetr.jobs.demo") / "scan" / name


def _write_page(folder: Path, results: Results, picture: Path) -> Path:
    """The picture and the page with scores, plan and licence. Raises MachineError."""
    from unetr.draw.picture import overlay, write_png
    from unetr.io import read_label, read_volume
    from unetr.model.file.model_file import read_model
    from unetr.model.shipped import find_model
    from unetr.report.page import ReportInput, WorstCase, write_report

    scan = read_volume(folder / "scan.nii.gz")
    predicted, true = (read_label(folder / f"{name}.nii.gz") for name in ("prediction", "truth"))
    png = overlay(scan, predicted, true, CASE)
    write_png(picture, png)
    model = read_model(find_model(Path(MODEL)))
    report = ReportInput(
        plan=model.plan,
        title=f"{MODEL}: the shipped model on a scan that it has not seen",
        fingerprint=model.fingerprint,
        results=results,
        worst_cases=(WorstCase(CASE, results.mean_dice, png),),
        data_licence=LICENCE,
        citation=CITATION,
    )
    write_report(report, folder / _PAGE)
    return folder / _PAGE
