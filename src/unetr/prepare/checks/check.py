"""Everything that can be wrong with a dataset, found in one pass that never stops at the first problem."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from unetr.core.machine.parallel import in_turn
from unetr.core.space.geometry import orientation_of
from unetr.core.space.volume import Volume
from unetr.errors import InputError
from unetr.io import onto_grid, read_label
from unetr.prepare.checks.duplicates import Traits, Twin, find_twins, traits_of
from unetr.prepare.checks.problems import Problem, Severity
from unetr.prepare.datasets.cases import read_image
from unetr.prepare.datasets.dataset import Case, Dataset
from unetr.prepare.datasets.folds import split_folds
from unetr.prepare.measure.contrast import is_sparse
from unetr.prepare.measure.scan_facts import canonical_spacing_mm, to_canonical

# The code of a note on a label that is stored in another orientation than its image.
TURNED = "label_turned"
FEWEST_CASES = 5
# A volume with fewer voxels than this along an axis is thinner than the smallest patch.
_TINY_VOXELS = 8
# Cases whose spacing or shape differs from the median by more than this factor are outliers.
_OUTLIER_FACTOR = 3.0
# Spacings within 10 % of one another count as the same.
_MIXED_FACTOR = 1.1
# Scans whose 99.5th percentiles differ by more than this factor have arbitrary units.
_SCALE_FACTOR = 10.0
# What is said of scans for testing.
_OF_TESTS = ("test_scan", "unreadable_image")


@dataclass(frozen=True, slots=True)
class CheckResult:
    """All findings, the dataset's first, then by case. With an error, training would be wrong."""

    dataset: str
    cases: int
    problems: tuple[Problem, ...]

    @property
    def errors(self) -> tuple[Problem, ...]:
        """The problems that must be solved before training."""
        return tuple(problem for problem in self.problems if problem.severity == "error")

    def to_json(self) -> str:
        """The report as JSON text for machines."""
        return json.dumps(asdict(self) | {"errors": len(self.errors)}, indent=1)


@dataclass(slots=True)
class _Finding:
    """What one case showed; the facts are None or empty where the file could not be read."""

    case: Case
    problems: list[Problem] = field(default_factory=list)
    shape: tuple[int, int, int] | None = None
    spacing_mm: tuple[float, float, float] | None = None
    orientation: str = ""
    traits: Traits | None = None
    label_digest: str = ""
    percentiles: tuple[float, ...] = ()
    constant: tuple[int, ...] = ()
    sparse: tuple[bool, ...] = ()
    values: set[int] | None = None

    def add(self, severity: Severity, code: str, message: str) -> None:
        self.problems.append(Problem(self.case.id, severity, code, message))

    def add_error(self, code: str, error: InputError) -> None:
        self.problems.append(Problem(self.case.id, "error", code, str(error), error.hint))


def check_dataset(
    dataset: Dataset, progress: Callable[[int, int], None] | None = None, *, held_out: bool = True
) -> CheckResult:
    """Reads every case and lists every problem. `progress(done, total)` is called after each case.

    held_out: whether the scans for testing are compared with those to learn from.
    """
    cases = [*dataset.cases, *(dataset.held_out if held_out else ())]
    every = in_turn(lambda case: _check_case(case, dataset), cases, progress)
    findings, tests = every[: len(dataset.cases)], every[len(dataset.cases) :]
    problems = [Problem(None, note.severity, note.code, note.message) for note in dataset.notes]
    problems += [*_check_size(dataset), *_check_labels(dataset, findings), *_check_geometry(findings)]
    _check_constant(findings)
    _check_duplicates(findings, tests, len(dataset.channel_names))
    _check_shared_labels(findings)
    problems += [problem for finding in tests for problem in finding.problems if problem.code in _OF_TESTS]
    problems += [problem for finding in findings for problem in finding.problems]
    # A stable sort: the dataset's own problems first, then case by case.
    problems.sort(key=lambda problem: problem.case or "")
    return CheckResult(dataset.name, len(dataset.cases), tuple(problems))


def _check_case(case: Case, dataset: Dataset) -> _Finding:
    finding = _Finding(case)
    image = _check_image(finding, len(dataset.channel_names))
    for note in image.notes if image is not None else ():
        finding.add("info", "as_read", note)
    for doubt in image.doubts if image is not None else ():
        finding.add("warning", "doubtful_image", doubt)
    if case.label is None:
        finding.add("warning", "no_label", "has no label; it is not used for training")
        return finding
    try:
        label = read_label(case.label)
    except InputError as error:
        finding.add_error("unreadable_label", error)
        return finding
    if image is not None:
        try:
            placed = onto_grid(image, label, case.images[0], case.label)
            for note in placed.notes:
                finding.add("info", "as_read" if note in label.notes else TURNED, note)
            label = placed
        except InputError as error:
            finding.add_error("grid_mismatch", error)
    finding.label_digest = traits_of(label).digest
    if finding.traits is not None and finding.traits.digest == finding.label_digest:
        finding.add("error", "image_is_label", f"{case.images[0]}: holds the very voxels of its label; is it a copy?")
    finding.values = {int(value) for value in np.unique(label.data)}
    unknown = sorted(finding.values - set(dataset.allowed_values))
    if unknown:
        known = sorted(dataset.allowed_values)
        message = f"{case.label}: has the label values {unknown[:8]}; expected {known[:8]}"
        if dataset.ignore_label is None and len(unknown) == 1:
            message += (
                f'; if it marks voxels that nobody labelled, name it among the labels: {{"ignore": {unknown[0]}}}'
            )
        finding.add("error", "unknown_values", message)
    elif not finding.values - {0, dataset.ignore_label}:
        finding.add("warning", "empty_foreground", f"{case.label}: no voxel is labelled")
    return finding


def _check_image(finding: _Finding, n_channels: int) -> Volume | None:
    """Reads the image, keeps its facts, and notes what is odd about it."""
    case = finding.case
    try:
        image = read_image(case, n_channels)
    except InputError as error:
        finding.add_error("unreadable_image", error)
        return None
    canonical = to_canonical(image)
    finding.shape, finding.spacing_mm = canonical.shape, canonical_spacing_mm(image)
    finding.orientation = orientation_of(image.affine)
    finding.traits = traits_of(image)
    finding.percentiles = tuple(float(np.percentile(channel, 99.5)) for channel in image.data)
    finding.constant = tuple(i for i, channel in enumerate(image.data) if channel.min() == channel.max())
    finding.sparse = tuple(is_sparse(channel) for channel in image.data)
    if len(finding.constant) == n_channels:
        finding.add("error", "constant_image", f"{case.images[0]}: every voxel has the same value")
    if min(image.shape) < _TINY_VOXELS:
        message = f"{case.images[0]}: is {image.shape} voxels; fewer than {_TINY_VOXELS} along an axis"
        finding.add("warning", "tiny_volume", message)
    return image


def _check_constant(findings: list[_Finding]) -> None:
    """A channel without any contrast; a mask or a sparse map may be empty in some cases, but not in all."""
    for finding in findings:
        if len(finding.constant) == len(finding.sparse):
            continue
        for channel in finding.constant:
            others = [other for other in findings if other.sparse and channel not in other.constant]
            message = f"{finding.case.images[0]}: every voxel of channel {channel} is the same"
            if others and all(other.sparse[channel] for other in others):
                finding.add("warning", "empty_channel", f"{message}; it is a mask or sparse in the other cases")
            else:
                finding.add("error", "constant_channel", message)


def _check_size(dataset: Dataset) -> list[Problem]:
    labelled = len(dataset.labelled)
    problems = []
    if not labelled:
        problems.append(Problem(None, "error", "no_labels", "no case has a label; there is nothing to learn from"))
    elif labelled < FEWEST_CASES:
        message = f"{labelled} labelled cases; with fewer than {FEWEST_CASES} the results say little"
        problems.append(Problem(None, "warning", "few_cases", message))
    if any(case.fold is not None for case in dataset.cases):
        try:
            split_folds(dataset)
        except InputError as error:
            problems.append(Problem(None, "error", "folds", str(error), error.hint))
    return problems


def _check_labels(dataset: Dataset, findings: list[_Finding]) -> list[Problem]:
    """Labels that no case has, and the case of nothing labelled at all."""
    read = [finding.values for finding in findings if finding.values is not None]
    if not read:
        return []
    occurring = set().union(*read)
    names = {name: value for name, value in dataset.labels.items() if value != 0}
    if not occurring & set(names.values()):
        return [Problem(None, "error", "all_empty", "no case has a labelled voxel; there is nothing to learn from")]
    return [
        Problem(None, "warning", "label_never_occurs", f"label {name!r} (value {value}) occurs in no case")
        for name, value in names.items()
        if value not in occurring
    ]


def _check_geometry(findings: list[_Finding]) -> list[Problem]:
    """Mixed orientations, spacings and intensity scales; cases far from the median are noted on the case."""
    read = [finding for finding in findings if finding.shape is not None and finding.spacing_mm is not None]
    if not read:
        return []
    problems = []
    orientations = sorted({finding.orientation for finding in read})
    if len(orientations) > 1:
        message = f"the scans have the orientations {', '.join(orientations)}; all are turned to the plan's"
        problems.append(Problem(None, "warning", "mixed_orientations", message))
    spacings = np.array([finding.spacing_mm for finding in read])
    if (spacings.max(axis=0) > _MIXED_FACTOR * spacings.min(axis=0)).any():
        low, high = (" x ".join(f"{v:.3g}" for v in edge) for edge in (spacings.min(axis=0), spacings.max(axis=0)))
        message = f"spacings range from {low} to {high} mm (axes R, A, S); all are resampled to the plan's"
        problems.append(Problem(None, "warning", "mixed_spacings", message))
    shapes = np.array([finding.shape for finding in read], dtype=float)
    for what, table in (("spacing", spacings), ("shape", shapes)):
        ratio = table / np.median(table, axis=0)
        for finding, row, ratios in zip(read, table, ratio, strict=True):
            if max(ratios.max(), 1 / ratios.min()) > _OUTLIER_FACTOR:
                values = " x ".join(f"{value:.3g}" for value in row)
                median = " x ".join(f"{value:.3g}" for value in np.median(table, axis=0))
                message = (
                    f"{finding.case.images[0]}: the {what} {values} is far from the median {median} (axes R, A, S)"
                )
                finding.add("warning", f"outlier_{what}", message)
    for channel, percentiles in enumerate(zip(*(finding.percentiles for finding in read), strict=True)):
        positive = [value for value in percentiles if value > 0]
        if positive and max(positive) > _SCALE_FACTOR * min(positive):
            message = (
                f"channel {channel}: 99.5th percentiles range from {min(positive):.4g} to {max(positive):.4g}: "
                "arbitrary units, so each scan must be normalised by itself"
            )
            problems.append(Problem(None, "info", "intensity_scale", message))
    return problems


_HOW = {
    "same": "has the same voxels as",
    "rounded": "has, but for rounding, the same voxels as",
    "scaled": "is in another scale the same scan as",
}


def _check_duplicates(findings: list[_Finding], tests: list[_Finding], n_channels: int) -> None:
    """The same scan twice: across subjects a leak between folds, within a subject only a repetition."""
    every = [*findings, *tests]
    twins = find_twins([finding.traits for finding in every], lambda i: read_image(every[i].case, n_channels))
    for twin in twins:
        first, second = every[twin.first], every[twin.second]
        if twin.first >= len(findings):
            continue
        message = f"{second.case.images[0]}: {_HOW[twin.how]} case {first.case.id!r}"
        if twin.second >= len(findings):
            second.add("warning", "test_scan", f"{message}, which is learned from; it tests nothing")
            continue
        if first.label_digest != second.label_digest and first.label_digest and second.label_digest:
            message += ", and another label"
        second.add(*_severity(twin, first.case, second.case, message))


def _severity(twin: Twin, first: Case, second: Case, message: str) -> tuple[Severity, str, str]:
    if first.subject == second.subject:
        return "warning", "duplicate_image", message
    message += " of another subject"
    if first.fold is not None and first.fold == second.fold:
        return "warning", "duplicate_image", message
    message += "; a fold could train on its own test"
    return ("warning" if twin.how == "scaled" else "error"), "duplicate_image", message


def _check_shared_labels(findings: list[_Finding]) -> None:
    """One label file for two scans: of two subjects, one of them is another's."""
    first: dict[Path, Case] = {}
    for finding in findings:
        if finding.case.label is None:
            continue
        other = first.setdefault(finding.case.label.resolve(), finding.case)
        if other is not finding.case and other.images != finding.case.images:
            finding.add("warning", "shared_label", f"{finding.case.label}: is the label of case {other.id!r}, too")
