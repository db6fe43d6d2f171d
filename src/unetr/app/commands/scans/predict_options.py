"""The options that only `unetr predict` has, with what its help says of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Paths = Annotated[
    list[Path],
    typer.Argument(
        metavar="MODEL... SCANS",
        help="Models, their names, runs (all averaged), then a scan, zip or folder of DICOM, folder of these, CSV.",
        show_default=False,
    ),
]
Out = Annotated[Path, typer.Option("-o", "--out", help="Label file, or folder for a folder of scans.")]
Tta = Annotated[bool, typer.Option("--tta", help="Average over the mirrors that the plan allows.")]
Probabilities = Annotated[bool, typer.Option("--probabilities", help="Also write CASE_probabilities.nii.gz.")]
Uncertainty = Annotated[
    bool, typer.Option("--uncertainty", help="Also write CASE_uncertainty.nii.gz, 0 (sure) to 1 (a guess).")
]
Strict = Annotated[bool, typer.Option("--strict", help="Refuse scans that do not look like the training scans.")]
MemoryLimit = Annotated[
    str | None, typer.Option("--memory-limit", help="Of the whole process, such as 4GB; refuse what cannot fit.")
]
Preview = Annotated[bool, typer.Option("--preview", help="Also write an overlay picture NAME.png.")]
Stats = Annotated[Path | None, typer.Option(help="Write volumes and confidence of each case to this CSV file.")]
ResultFormat = Annotated[
    str, typer.Option("--format", help="nifti (or the scan's own format); for DICOM also dicom-seg, rtstruct.")
]
Series = Annotated[
    list[str] | None, typer.Option("--series", help="SeriesInstanceUID; once for each channel of the model.")
]
Resume = Annotated[bool, typer.Option("--continue", help="Skip what report.json proves to be finished and unchanged.")]
ReportPath = Annotated[Path | None, typer.Option(help="Where the report goes; OUT/report.json for a folder of scans.")]
AssumeAffine = Annotated[
    bool, typer.Option("--assume-affine", help="Accept scans without orientation: take axes as R, A, S.")
]
AcceptShear = Annotated[
    bool, typer.Option("--accept-shear", help="Accept scans whose axes are not perpendicular, on their own grid.")
]
