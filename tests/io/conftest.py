"""Fixtures of the io tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from unetr.core.space.volume import Volume


@pytest.fixture
def saving_fails(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """saving_fails("full" | "cut" | other, place): what pydicom writes meets a full disk, is cut short or changed.

    place(dataset, content) -> the byte that is changed, and shortly behind which the content is cut.
    """
    save = pydicom.Dataset.save_as

    def fail(fault: str, place: Callable[[Any, bytes], int]) -> None:
        def faulty(self: Any, target: Path, **options: Any) -> None:
            save(self, target, **options)
            content = bytearray(target.read_bytes())
            at = place(self, bytes(content))
            if fault == "full":
                raise OSError(28, "No space left on device")
            content[at] ^= 1
            target.write_bytes(content[: at + 20] if fault == "cut" else content)

        monkeypatch.setattr(pydicom.Dataset, "save_as", faulty)

    return fail


@pytest.fixture
def oblique() -> Volume:
    """A small int16 volume, rotated and anisotropic."""
    rng = np.random.default_rng(5)
    affine = np.eye(4)
    c, s = np.cos(0.3), np.sin(0.3)
    affine[:3, :3] = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) * (0.7, 0.9, 3.0)
    affine[:3, 3] = (-31.5, 12.25, 100.0)
    return Volume(rng.integers(-1000, 1000, (1, 7, 6, 5), dtype=np.int16), affine)
