"""matplotlib, imported in this one place, in a way that leaves nothing behind and starts nothing.

Left alone, its import makes folders in the home, looks all fonts of the machine over with the help of other programs
(which keep caches of their own), writes what it found into the home, and takes its style from a file in the current
folder. Pictures need only the fonts that come with it.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import chdir, contextmanager, nullcontext
from pathlib import Path


@contextmanager
def _without_home() -> Iterator[None]:
    """While it lasts, matplotlib's home and the only place of programs is an empty folder, gone afterwards."""
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


def _import_matplotlib() -> None:
    if "matplotlib.font_manager" in sys.modules:  # by the program that uses this package: its home and its style
        return
    with _without_home():
        import matplotlib
        import matplotlib.font_manager  # its import is what looks for fonts

        # Asked for now, while they are in the empty folder; it remembers the answers.
        matplotlib.get_configdir()
        matplotlib.get_cachedir()
        matplotlib.rcdefaults()


_import_matplotlib()

from matplotlib.axes import Axes  # noqa: E402
from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402
from matplotlib.patches import Patch  # noqa: E402
from matplotlib.patheffects import withStroke  # noqa: E402
from matplotlib.ticker import FuncFormatter, MaxNLocator  # noqa: E402

__all__ = ["Axes", "Figure", "FigureCanvasAgg", "FuncFormatter", "MaxNLocator", "Patch", "withStroke"]
