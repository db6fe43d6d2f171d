"""The options of `unetr predict` that choose what is computed and written, apart from where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from unetr.errors import InputError

if TYPE_CHECKING:
    from unetr.core.volume import Volume
    from unetr.infer.batch_report import Setting
    from unetr.infer.predict import Prediction, Segmenter
    from unetr.prepare.cases import Case

# --format -> the end of a label file's name; nothing: the scan's own suffix.
RESULT_FORMATS = {"nifti": "", "dicom-seg": ".seg.dcm", "rtstruct": ".rtstruct.dcm"}


@dataclass(frozen=True, slots=True)
class PredictOptions:
    """What `unetr predict` was asked for.

    A further option of `Segmenter.predict` is a field here, an argument in `segment`, and, if it changes results, an
    entry in `settings`. result_format: a key of RESULT_FORMATS. series: SeriesInstanceUIDs, a channel each.
    """

    engine: str = "torch"
    device: str = "auto"
    precision: str = "auto"
    tta: bool = False
    probabilities: bool = False
    preview: bool = False
    assume_affine: bool = False
    accept_shear: bool = False
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
            "series": list(self.series),
        }

    def read(self, case: Case, segmenter: Segmenter) -> Volume:
        """The case's scan with the model's channels. Raises InputError that names the file."""
        from unetr.prepare.cases import read_scan

        return read_scan(
            case,
            [channel.name for channel in segmenter.plan.channels],
            series=self.series,
            assume_affine=self.assume_affine,
            accept_shear=self.accept_shear,
        )

    def segment(self, case: Case, scan: Volume, segmenter: Segmenter) -> Prediction:
        """Segments a scan that `read` returned. Raises InputError that names the file."""
        try:
            return segmenter.predict(scan, tta=self.tta, probabilities=self.probabilities)
        except InputError as error:
            reason = str(error)
            if str(case.images[0]) in reason:
                raise
            # What gets a Volume cannot know which file it was.
            raise InputError(f"{case.images[0]}: {reason.removeprefix('the scan: ')}") from error
