"""Which label values there are and what they are called."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from unetr.core.volume import Array, Volume
from unetr.errors import InputError


class Names:
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
        self._names, self._source = names, source

    def add_values(self, *arrays: Array) -> None:
        """Takes over the values in label arrays."""
        if self._fixed:
            return
        for array in arrays:
            self._values.update(int(value) for value in np.unique(array))

    def values(self) -> list[int]:
        """All values but the background's, sorted."""
        return sorted((self._values | set(self._names)) - {0})

    def labels(self) -> dict[tuple[int, ...], str]:
        """Each value's name."""
        return {(value,): self._names.get(value, f"label {value}") for value in self.values()}
