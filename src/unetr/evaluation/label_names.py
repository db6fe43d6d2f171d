"""Which label values there are and what they are called."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np

from unetr.core.space.volume import Array, Volume
from unetr.errors import InputError

# The table of who was taken for whom grows with the square of this; the finest atlases have 1000 regions.
_MOST_VALUES = 2000


class LabelNames:
    """Label values and their names, gathered while cases are read; fixed ones are known beforehand and stay."""

    def __init__(self, names: Mapping[int, str] | None = None, fixed: bool = False) -> None:
        self._names = dict(names or {})
        self._values = set(self._names)
        self._source: dict[int, Path] = {}
        self._fixed = fixed

    def add_names(self, files: Mapping[Path | None, Volume | None]) -> None:
        """Takes over the names in label files, all of them or, where one contradicts what is known, none.

        Raises InputError for a contradiction.
        """
        if self._fixed:
            return
        names, source = dict(self._names), dict(self._source)
        for path, volume in files.items():
            if path is None or volume is None:
                continue
            for value, name in volume.label_names.items():
                if value != 0 and names.setdefault(value, name) != name:
                    raise InputError(
                        f"{path}: calls label {value} {name!r}, {source[value]} calls it {names[value]!r}; "
                        "give the names that hold for both"
                    )
                source.setdefault(value, path)
            _check_count(path, self._values.union(names))
        self._names, self._source = names, source

    def add_values(self, path: Path, *arrays: Array) -> None:
        """Takes over the values in label arrays. Raises InputError, naming `path`, for more than anybody scores."""
        if self._fixed:
            return
        values = self._values.union(*(np.unique(array).tolist() for array in arrays))
        _check_count(path, values.union(self._names))
        self._values = values

    def values(self) -> list[int]:
        """All values but the background's, sorted."""
        return sorted((self._values | set(self._names)) - {0})

    def allowed(self, ignore_value: int | None) -> set[int] | None:
        """All values that a label file may have, None for any; `ignore_value` beside the fixed ones."""
        if not self._fixed:
            return None
        return {0, *self._values} | (set() if ignore_value is None else {ignore_value})

    def labels(self) -> dict[tuple[int, ...], str]:
        """Each value's name."""
        return {(value,): self._names.get(value, f"label {value}") for value in self.values()}


def _check_count(path: Path, values: Collection[int]) -> None:
    if len(values) > _MOST_VALUES:
        raise InputError(f"{path}: with it there are {len(values)} label values; expected at most {_MOST_VALUES}")
