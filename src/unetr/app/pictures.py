"""Overlay pictures of predictions, for `--preview`, the demo and the report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from unetr.core.files import atomic_path
from unetr.core.volume import Volume

if TYPE_CHECKING:
    from unetr.infer.predict import Prediction


def write_preview(path: Path, prediction: Prediction) -> None:
    """Writes a PNG of the segmentation over the scan."""
    write_png(path, overlay(prediction.scan, prediction.labels))


def write_png(path: Path, png: bytes) -> None:
    """Writes a picture atomically. Raises MachineError."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(png)


def overlay(scan: Volume, labels: Volume, truth: Volume | None = None, title: str = "") -> bytes:
    """PNG of a segmentation over the scan's first channel, beside the truth where there is one."""
    from unetr.report.overlay import overlay_png, ras_view

    image, spacing_mm = ras_view(scan)
    names = {name: value for value, name in labels.label_names.items()}
    shown_truth = None if truth is None else ras_view(truth)[0][0]
    return overlay_png(image[0], ras_view(labels)[0][0], spacing_mm, names, truth=shown_truth, title=title)
