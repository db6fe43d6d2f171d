"""What a plan says of its targets, against what is written down by hand."""

from __future__ import annotations

from typing import Any

from unetr.core.plan.schema import ChannelPlan, Plan, PretrainingPlan, Region
from unetr.core.plan.targets import Target


def plan(**changes: Any) -> Plan:
    fields: dict[str, Any] = {
        "dataset": "targets",
        "channels": (ChannelPlan(name="T1"), ChannelPlan(name="T2")),
        "labels": {"edema": 4, "background": 0, "core": 1},
        "spacing_mm": (1.0, 1.0, 1.0),
        "window": (32, 32, 32),
    }
    return Plan(**(fields | changes))


def test_classes_are_in_the_order_of_their_values() -> None:
    made = plan()
    assert (made.in_channels, made.outputs, made.has_regions) == (2, 3, False)
    assert made.class_names == ("background", "core", "edema")
    assert made.class_values == (0, 1, 4)
    assert list(made.foreground.items()) == [("core", 1), ("edema", 4)]
    assert made.targets == (Target("core", (1,)), Target("edema", (4,)))
    assert list(made.written_values.items()) == [("core", 1), ("edema", 4)]
    assert (made.region_values, made.region_classes) == ({}, ())


def test_regions_are_the_targets_where_there_are_some() -> None:
    regions = (Region(name="whole", labels=(4, 1), written_as=9), Region(name="inner", labels=(1,), written_as=3))
    made = plan(regions=regions)
    assert (made.in_channels, made.outputs, made.has_regions) == (2, 2, True)
    assert made.targets == (Target("whole", (4, 1)), Target("inner", (1,)))
    assert made.written_values == {"whole": 9, "inner": 3}
    assert made.region_values == {"whole": (4, 1), "inner": (1,)}
    assert made.region_classes == ((2, 1), (1,))
    assert made.foreground == {"core": 1, "edema": 4}


def test_a_pretraining_has_no_targets_and_an_output_for_each_channel() -> None:
    made = plan(labels={"background": 0}, pretraining=PretrainingPlan())
    assert (made.in_channels, made.outputs, made.has_regions) == (2, 2, False)
    assert made.targets == () and made.written_values == {} and made.foreground == {}
