"""Numbers and intervals for people."""

from __future__ import annotations

import math

from unetr.core.text.numbers import counted, interval, number, with_interval


def test_numbers_and_intervals() -> None:
    assert (number(0.126, 2), number(-3.0, 1), number(math.nan, 2)) == ("0.13", "-3.0", "-")
    assert with_interval(0.8931, 0.8812, 0.9041, 3) == "0.893 (0.881 to 0.904)"
    assert with_interval(0.8931, math.nan, math.nan, 3) == "0.893"
    assert with_interval(math.nan, math.nan, math.nan, 3) == "-"
    assert (interval(-0.01, 0.02, 2), interval(math.nan, 1.0, 2)) == ("-0.01 to 0.02", "-")
    assert (counted(0, "case"), counted(1, "case"), counted(2, "case")) == ("0 cases", "1 case", "2 cases")
