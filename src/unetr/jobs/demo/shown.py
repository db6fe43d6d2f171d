"""What each part of the demonstration hands back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from unetr.evaluation.results import Results


@dataclass(frozen=True, slots=True)
class Shown:
    """A scan that was segmented and scored.

    name: of the part, hippocampus or brain. results: the scores. label_file, picture, page: the segmentation, its
    overlay (PNG), and the HTML page. seconds: from the start of the part to the last file.
    """

    name: str
    results: Results
    label_file: Path
    picture: Path
    page: Path
    seconds: float
