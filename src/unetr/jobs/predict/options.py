"""The options of `unetr predict` that choose what is computed and written, apart from where."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from unetr.core.machine.allowance import DoesNotFitError, memory_limit
from unetr.core.space.frames import Transform
from unetr.core.text.printable import printable
from unetr.core.text.untrusted import untrusted
from unetr.errors import InputError

if TYPE_CHECKING:
    from unetr.infer.predict import Prediction, Prepared, Segmenter, Wanted
    from unetr.infer.sweep.slabs import Route
    from unetr.jobs.predict.report import Setting
    from unetr.prepare.datasets.cases import Case

# --format -> the end of a label file's name; nothing: the scan's own suffix.
RESULT_FORMATS = {"nifti": "", "dicom-seg": ".seg.dcm", "rtstruct": ".rtstruct.dcm"}


@dataclass(frozen=True, slots=True)
class PredictOptions:
    """What `unetr predict` was asked for.

    A further option of `Segmenter.predict` is a field here, an argument in `prepare` or `wanted`, and, if it changes
    results, an entry in `settings`. result_format: a key of RESULT_FORMATS. series: SeriesInstanceUIDs, a channel each.
    """

    engine: str = "auto"
    device: str = "auto"
    precision: str = "auto"
    tta: bool = False
    probabilities: bool = False
    uncertainty: bool = False
    strict: bool = False
    memory_limit_bytes: int | None = None
    preview: bool = False
    assume_affine: bool = False
    accept_shear: bool = False
    transform: Transform | None = None
    series: tuple[str, ...] = ()
    result_format: str = "nifti"

    def __post_init__(self) -> None:
        if self.result_format not in RESULT_FORMATS:
            raise InputError(f"format {self.result_format}: is unknown; expected one of {', '.join(RESULT_FORMATS)}")

    def settings(self) -> dict[str, Setting]:
        """The options that change the numbers in a result: a result made with others is not taken over."""
        return {
            "engine": self.engine,
            "device": self.device,
            "precision": self.precision,
            "tta": self.tta,
            "assume_affine": self.assume_affine,
            "accept_shear": self.accept_shear,
            "transform": self.transform or "",
            "series": list(self.series),
        }

    def prepare(self, case: Case, segmenter: Segmenter, most_bytes: int | None = None) -> Prepared:
        """The case's scan, read, judged and brought to the network's grid. Raises InputError that names the file.

        most_bytes: what may be taken for it where another scan is segmented meanwhile, None where none is.
        """
        from unetr.prepare.datasets.cases import read_scan

        read = partial(
            read_scan,
            case,
            [channel.name for channel in segmenter.plan.channels],
            series=self.series,
            assume_affine=self.assume_affine,
            accept_shear=self.accept_shear,
            transform=self.transform or segmenter.plan.transform,
        )
        limit = memory_limit(self.memory_limit_bytes, most_bytes=most_bytes)
        with naming(case), untrusted(case.images[0], "a scan"), limit:
            return segmenter.prepare(read, strict=self.strict)

    def wanted(self) -> Wanted:
        """What the Segmenter is asked for."""
        from unetr.infer.predict import Wanted

        return Wanted(self.tta, self.probabilities, self.uncertainty, self.memory_limit_bytes)

    def segment(self, case: Case, prepared: Prepared, segmenter: Segmenter, route: Route) -> Prediction:
        """Segments a scan that `prepare` returned. Raises InputError that names the file."""
        with naming(case):
            return segmenter.segment(prepared, self.wanted(), route)


@contextmanager
def naming(case: Case) -> Iterator[None]:
    """InputErrors name the case's file: what gets a Volume cannot know which file it was."""
    try:
        yield
    except InputError as error:
        reason = str(error)
        if printable(str(case.images[0])) in reason:
            raise
        kind = DoesNotFitError if isinstance(error, DoesNotFitError) else InputError
        raise kind(f"{case.images[0]}: {reason.removeprefix('the scan: ')}", hint=error.hint) from error
