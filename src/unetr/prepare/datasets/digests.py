"""What a dataset holds, by content, so that a run knows its data again wherever it lies, and any other data as other.

Every file is read to its end each time: sizes and times of change can be the same for other contents, and reading
costs far less than the training that follows.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from unetr.core.files.digest import size_and_sha256
from unetr.core.plan.schema import Record, Region
from unetr.errors import InputError
from unetr.prepare.datasets.dataset import Case, Dataset

_THREADS = 2
_SHOWN = 3


class CaseDigest(Record):
    """SHA-256 of each image file (or folder) of a case, in the order of the channels, and of its label."""

    images: tuple[str, ...]
    label: str | None = None


class DataDigest(Record):
    """What is learned from: what the dataset declares, and the digest of every case to learn from, by its id."""

    channels: tuple[str, ...]
    labels: dict[str, int]
    regions: tuple[Region, ...] = ()
    ignore_label: int | None = None
    cases: dict[str, CaseDigest]


def case_digest(case: Case) -> CaseDigest:
    """Reads the files of a case. Raises InputError for what cannot be read."""
    images = tuple(size_and_sha256(path)[1] for path in case.images)
    return CaseDigest(images=images, label=None if case.label is None else size_and_sha256(case.label)[1])


def case_digests(cases: Sequence[Case]) -> dict[str, CaseDigest]:
    """Case id -> digest. Raises InputError for what cannot be read."""
    with ThreadPoolExecutor(_THREADS) as pool:
        return {case.id: digest for case, digest in zip(cases, pool.map(case_digest, cases), strict=True)}


def data_digest(dataset: Dataset) -> DataDigest:
    """The digest of what a training on the dataset learns from. Raises InputError for what cannot be read."""
    return DataDigest(
        channels=dataset.channel_names,
        labels=dataset.labels,
        regions=dataset.regions,
        ignore_label=dataset.ignore_label,
        cases=case_digests(dataset.learned_from),
    )


def data_difference(before: DataDigest, now: DataDigest) -> str:
    """What changed, for people, such as "the label of 2 cases changed (a, b)"; empty where nothing did."""
    declared = ("channels", "labels", "regions", "ignore_label")
    changed = [name.replace("_", " ") for name in declared if getattr(before, name) != getattr(now, name)]
    cases = cases_difference(before.cases, now.cases)
    return "; ".join([*(f"the {name} changed" for name in changed), *([cases] if cases else [])])


def cases_difference(before: Mapping[str, CaseDigest], now: Mapping[str, CaseDigest]) -> str:
    """Which cases changed, came or went, for people; empty where none did."""
    both = [name for name in before if name in now]
    images = {name for name in both if before[name].images != now[name].images}
    labels = {name for name in both if before[name].label != now[name].label}
    groups = (
        ("the scan of", images - labels, "changed"),
        ("the label of", labels - images, "changed"),
        ("scan and label of", images & labels, "changed"),
        ("", now.keys() - before.keys(), "added"),
        ("", before.keys() - now.keys(), "gone"),
    )
    texts = [(f"{what} {_counted(names)}".strip(), how, _some(names)) for what, names, how in groups if names]
    return "; ".join(f"{which} {how} ({names})" for which, how, names in texts)


def refuse_changed(cases: Sequence[Case], known: Mapping[str, CaseDigest], what: str) -> None:
    """Raises InputError, beginning with `what`, where a case is not what it was; one that is not known passes."""
    wanted = [case for case in cases if case.id in known]
    found = cases_difference({case.id: known[case.id] for case in wanted}, case_digests(wanted))
    if found:
        raise InputError(f"{what}: {found}; put the data back as it was, or train in another folder")


def _counted(names: Collection[str]) -> str:
    return f"{len(names)} case{'' if len(names) == 1 else 's'}"


def _some(names: Collection[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(sorted(names)[:_SHOWN]) + more
