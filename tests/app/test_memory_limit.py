"""`--memory-limit` of commands that read a dataset or label files: what would take more is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

Command = Callable[..., Any]


def test_reading_within_a_limit(unetr: Command, make_dataset: Callable[..., Path], tmp_path: Path) -> None:
    root = make_dataset("decathlon")
    labels, out = root / "labelsTr", ("-o", tmp_path / "scores")
    small, large = ("--memory-limit", "1MB"), ("--memory-limit", "900GB")
    for command in (("check", root), ("plan", root, "--preset", "tiny"), ("evaluate", labels, labels, *out)):
        assert unetr(*command, *large).code == 0, command
        refused = unetr(*command, *small)
        assert refused.code in (2, 3) and "more than the limit of 0.00 GB" in refused.err + refused.out, command
        assert unetr(*command, "--memory-limit", "much").code == 2
    refused = unetr("check", root, "--json", *small)
    problems = json.loads(refused.out)["problems"]
    assert {problem["hint"] for problem in problems if problem["code"] == "unreadable_image"} == {"memory_limit"}
    assert "(raise --memory-limit)" in refused.err.splitlines()[-1]
