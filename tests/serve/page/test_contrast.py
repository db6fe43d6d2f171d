"""The page's colours, by WCAG 2.2: text has a contrast of 4.5 with its ground, and what shows a control 3."""

from __future__ import annotations

import re

import pytest

from unetr.serve.page import STATIC

_STYLE = STATIC / "style"
# Where text stands: colours on a ground, by the variables' names. A ground "accent 14 card" is mixed of two.
_TEXT = {
    "ground": ("ink", "soft"),
    "card": ("ink", "soft", "accent", "ok", "warned", "error", "unknown"),
    "raised": ("ink", "soft"),
    "accent-ground": ("on-accent",),
    "ok-ground": ("ok", "ink", "soft"),
    "warned-ground": ("warned", "ink", "soft"),
    "unknown-ground": ("unknown", "ink", "soft"),
    # A button that is pressed, the chosen label, the job that is open.
    "accent 22 raised": ("ink",),
    "accent 14 card": ("ink", "soft", "accent"),
    "accent 12 card": ("ink", "soft", "ok", "warned", "error"),
}
# What shows where a control is, which one is chosen, and where the focus is.
_CONTROLS = {"card": ("edge", "accent", "accent-ground"), "raised": ("edge", "accent"), "ground": ("accent",)}
# The viewer is dark in both schemes, and has no verdict.
_STAGE_TEXT = {
    "stage": ("ink", "soft"),
    "card": ("ink", "soft", "accent"),
    "raised": ("ink", "soft"),
    "accent-ground": ("on-accent",),
    "accent 22 raised": ("ink",),
    "error-ground 55 card": ("ink", "error"),
    "bar": ("ink", "soft"),
}
_STAGE_CONTROLS = {
    "card": ("edge", "accent", "accent-ground"),
    "raised": ("edge", "accent"),
    "bar": ("edge", "accent"),
    "error-ground 55 card": ("error",),
}


def luminance(colour: str) -> float:
    """Relative luminance, 0 to 1, of "#rrggbb"."""
    shares = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    red, green, blue = (share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """1 to 21."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def mixed(colours: dict[str, str], ground: str) -> str:
    """The colour of a ground: its own, or "A 14 B", 14 per cent of A in B."""
    if " " not in ground:
        return colours[ground]
    one, share, other = ground.split()
    parts = zip(*(bytes.fromhex(colours[name][1:]) for name in (one, other)), strict=True)
    return "#" + "".join(f"{round(a * int(share) / 100 + b * (1 - int(share) / 100)):02x}" for a, b in parts)


def variables(block: str) -> dict[str, str]:
    found = {name: colour.lower() for name, colour in re.findall(r"--([a-z-]+): (#[0-9a-fA-F]{3,8});", block)}
    assert all(len(colour) == 7 for colour in found.values()), found
    return found


def schemes() -> dict[str, dict[str, str]]:
    """Variables of the panels in both schemes, and of the viewer in both."""
    base = (_STYLE / "base.css").read_text()
    viewer = (_STYLE / "viewer.css").read_text()
    dark_block, light_block = re.findall(r":root \{(.*?)\}", base, re.DOTALL)
    dark = variables(dark_block)
    light = dark | variables(light_block)
    bars = set(re.findall(r"\.(?:toolbar|place) \{[^}]*background: (#[0-9a-f]{6});", viewer))
    assert len(bars) == 1
    stage = variables(re.findall(r"\.stage \{(.*?)\}", viewer, re.DOTALL)[0]) | {"bar": bars.pop()}
    assert len(dark) > 15 and len(stage) > 8
    return {"dark": dark, "light": light, "viewer, dark": dark | stage, "viewer, light": light | stage}


@pytest.mark.parametrize("scheme", ["dark", "light", "viewer, dark", "viewer, light"])
def test_text_and_controls_stand_out_from_their_ground(scheme: str) -> None:
    colours = schemes()[scheme]
    text, controls = (_STAGE_TEXT, _STAGE_CONTROLS) if "viewer" in scheme else (_TEXT, _CONTROLS)
    weak = [
        f"{name} on {ground}: {found:.2f}, expected {least}"
        for pairs, least in ((text, 4.5), (controls, 3.0))
        for ground, names in pairs.items()
        for name in names
        if (found := contrast(colours[name], mixed(colours, ground))) < least
    ]
    assert weak == []


def test_the_reckoning_is_that_of_the_standard() -> None:
    """Black on white is 21 by definition; #767676 is the lightest grey for text on white."""
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#767676", "#ffffff") >= 4.5 > contrast("#777777", "#ffffff")


def test_mixed_grounds_are_those_of_the_style() -> None:
    """A share that changes in the style changes here."""
    style = "".join(path.read_text() for path in sorted(_STYLE.glob("*.css")))
    mixes = set(
        re.findall(r"color-mix\(in srgb, var\(--([a-z-]+)\) (\d+)%, (?:var\(--([a-z-]+)\)|transparent)\)", style)
    )
    wanted = {tuple(ground.split()) for ground in (*_TEXT, *_STAGE_TEXT) if " " in ground}
    assert {(one, share) for one, share, _ in mixes if one != "stage"} == {(one, share) for one, share, _ in wanted}
