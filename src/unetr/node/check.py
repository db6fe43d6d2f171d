"""What a node's settings would do with scans that lie in a folder, for the person who writes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from unetr.io.dicom.series.head import read_traits
from unetr.io.dicom.volume import SeriesInfo, list_series
from unetr.node.rules import Rule, Size, mismatch


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What one rule, or one of its channels, makes of one series. why: what does not hold, None where all does."""

    series: str
    rule: str
    channel: str
    why: str | None


def check_series(rules: Sequence[Rule], folder: Path) -> list[Answer]:
    """What each rule makes of each series in a folder. Raises InputError for a folder without CT, MR and PET series."""
    return [answer for info in list_series(folder) for answer in _answers(rules, info)]


def _answers(rules: Sequence[Rule], info: SeriesInfo) -> list[Answer]:
    traits = read_traits(Path(info.files[0]))
    whens = [
        (rule.name, name, when)
        for rule in rules
        for name, when in ([("", rule.when)] if rule.when else [(one.name, one.when) for one in rule.channels])
    ]
    found = []
    for rule, channel, when in whens:
        if info.shape is None or info.spacing_mm is None:
            why: str | None = "; ".join(info.remarks) or "its images are no volume"
        else:
            why = mismatch(when, traits, Size(info.shape[2], info.spacing_mm))
        found.append(Answer(series=info.uid, rule=rule, channel=channel, why=why))
    return found
