"""A view of a scan and its labels for notebooks, by ipyniivue: the bytes go to the widget, nothing is written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unetr.core.colours import label_colours, rgb
from unetr.core.space.volume import Volume
from unetr.draw.overlay import grey_range
from unetr.errors import expected_error
from unetr.printable import printable

if TYPE_CHECKING:
    from ipyniivue import NiiVue

_OPACITY = 0.5


def view(scan: Volume, labels: Volume, height: int) -> NiiVue:
    """The labels [1, X, Y, Z] over the scan's first channel, in the colours and by the names of every picture.

    The patient's right is on the left, as everywhere. height: in pixels. Raises MachineError without ipyniivue.
    """
    try:
        from ipyniivue import NiiVue, ShowRender, SliceType
        from ipyniivue import Volume as Shown
    except ModuleNotFoundError as error:
        raise expected_error(error) or error from error
    from unetr.io.formats.nifti import nifti_bytes

    first = scan.with_data(scan.data[:1], label_names={})
    low, high = grey_range(first.data)
    grey = Shown(data=nifti_bytes(first), name="scan.nii", colormap="gray", cal_min=low, cal_max=high)
    coloured = Shown(data=nifti_bytes(labels), name="labels.nii", opacity=_OPACITY)
    coloured.set_colormap_label(_table(labels))
    shown = NiiVue(
        height=height,
        is_radiological_convention=True,
        slice_type=SliceType.MULTIPLANAR,
        multiplanar_show_render=ShowRender.ALWAYS,
    )
    shown.load_volumes([grey, coloured])
    return shown


def _table(labels: Volume) -> dict[str, Any]:
    """The widget's table of values, colours (0..255) and names; the background is not drawn."""
    colours = label_colours(labels.label_names)
    parts = [(0, 0, 0), *(tuple(round(255 * part) for part in rgb(colour)) for colour in colours.values())]
    red, green, blue = (list(part) for part in zip(*parts, strict=True))
    names = ["", *(printable(labels.label_names[value]) for value in colours)]
    alpha = [0] + [255] * len(colours)
    return {"R": red, "G": green, "B": blue, "A": alpha, "I": [0, *colours], "labels": names}
