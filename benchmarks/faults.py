"""The kinds of faults that tests look for, the number of inputs tried for each, and what fell through.

    uv run python benchmarks/faults.py [--out docs/lab/faults.md]

Runs the tests that are marked `fault(kind)`; each parametrised input counts. A test that did not pass, and one that was
skipped, is shown. Inputs that hypothesis makes within one test count as one.
"""

from __future__ import annotations

import argparse
from collections import Counter, defaultdict
from pathlib import Path

import pytest

_HEAD = """# Faults looked for

Made by `benchmarks/faults.py`, which runs the tests marked with the kind of fault that they look for. A row is a kind:
how many inputs were tried, and how many fell through. An input falls through when it is wrong and accepted, sound and
refused, or gives another result than the right one. Inputs drawn at random within one test count as one.

| kind | inputs | fell through | not run here |
|---|---|---|---|
"""


class Counting:
    """A pytest plugin: outcomes of the marked tests by kind."""

    def __init__(self) -> None:
        self.kinds: dict[str, str] = {}
        self.outcomes: dict[str, Counter[str]] = defaultdict(Counter)

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            mark = item.get_closest_marker("fault")
            if mark is not None:
                self.kinds[item.nodeid] = str(mark.args[0])

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" or report.outcome != "passed":
            self.outcomes[self.kinds[report.nodeid]][report.outcome] += 1


def table(outcomes: dict[str, Counter[str]]) -> str:
    rows = []
    total: Counter[str] = Counter()
    for kind, counted in sorted(outcomes.items(), key=lambda item: item[0].lower()):
        tried = counted["passed"] + counted["failed"]
        rows.append(f"| {kind} | {tried} | {counted['failed']} | {counted['skipped'] or ''} |")
        total += counted
    tried = total["passed"] + total["failed"]
    rows.append(f"| **all {len(outcomes)} kinds** | **{tried}** | **{total['failed']}** | {total['skipped'] or ''} |")
    return _HEAD + "\n".join(rows) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    counting = Counting()
    code = pytest.main(["-m", "fault", "-q", "tests"], plugins=[counting])
    text = table(counting.outcomes)
    print(text)
    if given.out is not None:
        given.out.write_text(text, encoding="utf-8")
    raise SystemExit(int(code))


if __name__ == "__main__":
    main()
