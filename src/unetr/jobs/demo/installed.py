"""What of the demonstration this installation can run."""

from __future__ import annotations

from importlib.util import find_spec


def missing_for_training() -> tuple[str, ...]:
    """Packages that the training part needs and that are not installed; none is imported."""
    return tuple(name for name in ("torch", "lightning_fabric", "nilearn") if find_spec(name) is None)
