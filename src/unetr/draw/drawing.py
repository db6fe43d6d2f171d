"""matplotlib, imported in this one place, in a way that leaves nothing behind and starts nothing.

Left alone, its import makes folders in the home, looks all fonts of the machine over with the help of other programs
(which keep caches of their own), writes what it found into the home, and takes its style from a file in the current
folder. Pictures need only the fonts that come with it.
"""

from __future__ import annotations

import sys

from unetr.core.machine.homeless import without_home


def _import_matplotlib() -> None:
    if "matplotlib.font_manager" in sys.modules:  # by the program that uses this package: its home and its style
        return
    with without_home():
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
