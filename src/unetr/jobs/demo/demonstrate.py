"""The demonstration from start to end."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from unetr.core.files.lock import locked
from unetr.core.files.outputs import claim
from unetr.errors import MachineError
from unetr.jobs.demo.shipped_scan import segment_shipped_scan, shipped_scan_files
from unetr.jobs.demo.shown import Shown
from unetr.train.observer import TrainingObserver

# Importing brain.py imports them.
_NEEDED_TO_TRAIN = ("torch", "lightning_fabric", "nilearn")


@dataclass(frozen=True, slots=True)
class DemoRequest:
    """What is shown: always the shipped model; with `train` also a training of so many minutes.

    out: the folder for everything that is written. overwrite: whether files that a person made or edited may be
    replaced.
    """

    out: Path
    train: bool
    minutes: float = 3.5
    seed: int = 0
    overwrite: bool = False


class DemoObserver(TrainingObserver):
    """An observer of the demonstration and of the training in it."""

    def on_part_done(self, shown: Shown) -> None:
        """A scan was segmented and scored, and its files are written."""


def missing_for_training() -> tuple[str, ...]:
    """Packages that the training needs and that are not installed; none is imported."""
    return tuple(name for name in _NEEDED_TO_TRAIN if find_spec(name) is None)


def demonstrate(request: DemoRequest, observer: DemoObserver) -> list[Shown]:
    """Shows one part after the other. Nothing is downloaded; without `train` no torch is needed.

    Raises InputError for a folder that holds other files, MachineError (also where a package is missing),
    StoppedError.
    """
    missing = missing_for_training() if request.train else ()
    if missing:
        names = ", ".join(missing)
        raise MachineError(f"the training needs {names}, not installed here; run: pip install 'unetr[demo]'")
    first = request.out / "hippocampus"
    with locked(request.out, observer.on_note):
        outputs = shipped_scan_files(first)
        if request.train:
            from unetr.jobs.demo.brain import brain_files, train_on_brain

            outputs += brain_files(request.out)
        claim(outputs, overwrite=request.overwrite)
        parts = [segment_shipped_scan(first, observer)]
        observer.on_part_done(parts[0])
        if request.train:
            parts.append(train_on_brain(request.out, request.minutes, request.seed, observer))
            observer.on_part_done(parts[1])
    return parts
