"""Preprocessed cases on disk, so that training never prepares a scan twice and memory stays bounded.

Per case: `<id>.image.npy` (float32 [C, X, Y, Z]), `<id>.label.npy` (int8 or int16 [X, Y, Z]), `<id>.foreground.npy`
(int32 [n, 4]: class index, x, y, z) and, written last, `<id>.json` with the key that says what it was made from.
Arrays are opened as memory maps; nothing here is pickled.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetr.core.files.atomic import atomic_path, machine_error, write_text
from unetr.core.machine.parallel import in_turn
from unetr.core.plan.schema import Plan
from unetr.core.text.reading import read_json
from unetr.errors import InputError
from unetr.prepare.checks.guard import Prepared, judge, untrained_labels
from unetr.prepare.checks.problems import Problem
from unetr.prepare.datasets.dataset import Case, Dataset
from unetr.prepare.datasets.digests import CaseDigest, case_digest, data_digest
from unetr.prepare.prepared import prepare_case

# Raised when preprocessing changes what it computes, so that older caches are not taken for current ones.
CACHE_VERSION = 2
FOREGROUND_PER_CLASS = 5000
# What preprocessing reads of a plan; a change of anything else keeps the cache.
_PLAN_FIELDS = {"channels", "labels", "ignore_label", "orientation", "crop", "spacing_mm", "transform"}
_ARRAYS = ("image", "label", "foreground")

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, eq=False)
class CachedCase:
    """One preprocessed case. The arrays are memory maps, read-only.

    image: float32 [C, X, Y, Z]. label: class indices [X, Y, Z], -1 ignored. foreground: class index -> int32 [n, 3],
    up to 5000 voxels of each class but the background that occurs.
    """

    image: NDArray[np.float32]
    label: NDArray[np.signedinteger[Any]]
    foreground: dict[int, NDArray[np.int32]]


@dataclass(frozen=True, slots=True)
class Cache:
    """A folder of preprocessed cases; small enough to be sent to worker processes.

    keys: case id -> what it must have been made from (`case_key`), where that is known.
    """

    folder: Path
    ids: tuple[str, ...]
    keys: Mapping[str, str] = field(default_factory=dict)

    def open(self, case_id: str) -> CachedCase:
        """Maps the arrays of one case.

        Raises KeyError for another dataset's id, InputError for damaged files and those made from another scan or plan.
        """
        if case_id not in self.ids:
            raise KeyError(case_id)
        if case_id in self.keys and _stored_key(self.folder / f"{case_id}.json") != self.keys[case_id]:
            raise InputError(
                f"{self.folder}: case {case_id!r} was prepared again from other data or by another plan; "
                "expected no other training to write there"
            )
        arrays = _open_arrays(self.folder, case_id)
        if arrays is None:
            raise InputError(f"{self.folder / case_id}.image.npy: cached case is damaged; remove it and run again")
        image, label, table = arrays
        foreground = {int(index): np.array(table[table[:, 0] == index, 1:]) for index in np.unique(table[:, 0])}
        return CachedCase(image, label, foreground)


def build_cache(
    dataset: Dataset,
    plan: Plan,
    folder: Path,
    workers: int = 2,
    progress: Progress | None = None,
    digests: Mapping[str, CaseDigest] | None = None,
) -> Cache:
    """Preprocesses every case to learn from that `folder` does not hold yet; `progress(done, total)` after each.

    A case is kept when its key matches: the bytes of its files, wherever they lie, and the plan's preprocessing fields.
    digests: those of all cases, where they are known. Raises InputError for a case that cannot be read, has no label,
    or is changed meanwhile, MachineError when the folder cannot be written.
    """
    cases = dataset.learned_from
    if not cases:
        raise InputError(f"{dataset.root}: no case has a label; there is nothing to learn from")
    known = digests or data_digest(dataset).cases
    keys = {case.id: case_key(known[case.id], plan) for case in cases}
    try:
        folder.mkdir(0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise machine_error(folder, error) from error
    in_turn(
        lambda case: _cache_case(case, dataset, plan, folder, known[case.id]), cases, progress, threads=max(1, workers)
    )
    return Cache(folder, tuple(keys), keys)


def case_key(digest: CaseDigest, plan: Plan) -> str:
    """What a cached case is made from, as a hash."""
    facts = [CACHE_VERSION, digest.model_dump(), plan.model_dump(mode="json", include=_PLAN_FIELDS)]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def foreground_voxels(label: NDArray[Any], case_id: str) -> NDArray[np.int32]:
    """Up to 5000 voxels of each foreground class, int32 [n, 4] (class index, x, y, z), drawn by a seed from the id."""
    seed = hashlib.sha256(case_id.encode("utf-8", "surrogateescape")).digest()
    rng = np.random.default_rng(int.from_bytes(seed[:8], "little"))
    flat = label.reshape(-1)
    places = np.flatnonzero(flat > 0)
    classes = flat[places]
    rows = []
    for index in np.unique(classes):
        own = places[classes == index]
        if own.size > FOREGROUND_PER_CLASS:
            own = np.sort(rng.choice(own, FOREGROUND_PER_CLASS, replace=False))
        rows.append(np.stack([np.full(own.size, index), *np.unravel_index(own, label.shape)], axis=1))
    return np.concatenate(rows).astype(np.int32) if rows else np.empty((0, 4), dtype=np.int32)


def _cache_case(case: Case, dataset: Dataset, plan: Plan, folder: Path, digest: CaseDigest) -> None:
    key = case_key(digest, plan)
    record = folder / f"{case.id}.json"
    if _stored_key(record) == key and _open_arrays(folder, case.id) is not None:
        return
    # The record goes first and comes last: stopped in between, the case counts as missing, never as an older one.
    record.unlink(missing_ok=True)
    image, label, prepared = prepare_case(case, dataset, plan)
    if case_digest(case) != digest:
        raise InputError(f"{case.images[0]}: case {case.id!r} was changed while it was read; run again")
    small = label.astype(np.int8) if len(plan.class_values) <= np.iinfo(np.int8).max else label
    arrays = {"image": image, "label": small, "foreground": foreground_voxels(label, case.id)}
    for name in _ARRAYS:
        with atomic_path(folder / f"{case.id}.{name}.npy") as temporary:
            np.save(temporary, arrays[name], allow_pickle=False)
    shapes = {name: list(arrays[name].shape) for name in _ARRAYS}
    done = {"facts": prepared.facts, "present": prepared.present}
    write_text(record, json.dumps({"key": key, "id": case.id, "shapes": shapes, "prepared": done}, indent=1))


def cache_problems(
    cache: Cache, plan: Plan, folds: Mapping[int, Sequence[str]] = MappingProxyType({})
) -> list[Problem]:
    """What preparation did to the cached cases that training should not pass over (`guard.judge`).

    folds: number -> the cases that the fold holds back, of which some may be the only ones to have a label.
    """
    cases = []
    for case_id in cache.ids:
        found = _stored_record(cache.folder / f"{case_id}.json").get("prepared", {})
        cases.append(Prepared(case_id, found.get("facts", {}), tuple(found.get("present", ()))))
    return [*judge(cases, plan), *untrained_labels(cases, folds)]


def _stored_record(record: Path) -> dict[str, Any]:
    """The record of a case, empty where there is none or it is damaged."""
    try:
        data = read_json(record, "the record of a prepared case")
    except InputError:
        return {}
    return data if isinstance(data, dict) else {}


def _stored_key(record: Path) -> Any:
    return _stored_record(record).get("key")


def _open_arrays(
    folder: Path, case_id: str
) -> tuple[NDArray[np.float32], NDArray[np.signedinteger[Any]], NDArray[np.int32]] | None:
    """Image, label and foreground table as memory maps; None where one is missing, cut short or of another shape."""
    shapes = _stored_record(folder / f"{case_id}.json").get("shapes")
    if not isinstance(shapes, dict):
        return None
    arrays = []
    for name in _ARRAYS:
        try:
            # A map of no voxels is refused by the operating system, so an empty table is read.
            path, empty = folder / f"{case_id}.{name}.npy", 0 in shapes[name]
            array = np.load(path, mmap_mode=None if empty else "r", allow_pickle=False)
        except (OSError, ValueError, EOFError, KeyError, TypeError):
            return None
        if list(array.shape) != shapes[name]:
            return None
        arrays.append(array)
    return arrays[0], arrays[1], arrays[2]
