"""From Volumes to a picture file: a segmentation over its scan, beside the truth where there is one."""

from __future__ import annotations

from pathlib import Path

from unetr.core.files.atomic import atomic_path
from unetr.core.space.volume import Volume
from unetr.draw.overlay import overlay_png, ras_view


def overlay(scan: Volume, labels: Volume, truth: Volume | None = None, title: str = "") -> bytes:
    """PNG of a segmentation [1, X, Y, Z] over the scan's first channel."""
    image, spacing_mm = ras_view(scan)
    names = {name: value for value, name in labels.label_names.items()}
    shown_truth = None if truth is None else ras_view(truth)[0][0]
    return overlay_png(image[0], ras_view(labels)[0][0], spacing_mm, names, truth=shown_truth, title=title)


def write_png(path: Path, png: bytes) -> None:
    """Writes a picture atomically. Raises MachineError."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(png)
