"""A place without a home for libraries that would make folders in it when they are imported."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import chdir, contextmanager, nullcontext
from pathlib import Path


@contextmanager
def without_home() -> Iterator[None]:
    """While it lasts, matplotlib's home and the only place of programs is an empty folder, gone afterwards.

    For imports of matplotlib, and of packages that import it.
    """
    kept = {name: os.environ.get(name) for name in ("MPLCONFIGDIR", "PATH")}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        os.environ |= dict.fromkeys(kept, folder)
        # A style file of the current folder comes before every other, and ends the import where it is no text.
        elsewhere = chdir(folder) if Path("matplotlibrc").exists() else nullcontext()
        try:
            with elsewhere:
                yield
        finally:
            for name, value in kept.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value
