"""Each given case of inputs that went wrong (`../shared/cases`), and whether the outcome is right now.

    uv run python benchmarks/cases.py ../shared/cases [--only WORD ...] [--out FILE.md]

Every generator is run in an empty folder, then the command on what it made, as a person would. The last line counts
the inputs and those whose outcome is wrong; the exit code is 1 where there is one.
"""

from __future__ import annotations

import argparse
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path

from cases_datasets import DATASETS
from cases_hostile import HOSTILE
from cases_scans import SCANS
from cases_tools import Check, Desk, Finding


def findings(check: Check, desk: Desk) -> Iterator[Finding]:
    """The findings of one case; a case that cannot be tried is a wrong one."""
    try:
        yield from check(desk)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is told, and the other cases go on
        traceback.print_exc()
        yield Finding("the check itself", False, f"{type(error).__name__}: {error}"[:150])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", type=Path)
    parser.add_argument("--only", nargs="*", default=[""])
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    rows = ["| case | input | right | what came |", "|---|---|---|---|"]
    tried = wrong = 0
    print("\n".join(rows), flush=True)
    with tempfile.TemporaryDirectory() as shared:
        for name, check in (SCANS | DATASETS | HOSTILE).items():
            if not any(word in name for word in given.only):
                continue
            with tempfile.TemporaryDirectory() as work:
                for finding in findings(check, Desk(given.cases.resolve(), Path(work), Path(shared))):
                    came = finding.came.replace(work, "").replace("|", "/")
                    rows.append(f"| {name} | {finding.tried} | {'yes' if finding.right else '**no**'} | {came} |")
                    print(rows[-1], flush=True)
                    tried, wrong = tried + 1, wrong + (not finding.right)
    rows.append(f"\n{tried} inputs tried, {wrong} with a wrong outcome.")
    print(rows[-1])
    if given.out:
        given.out.write_text("\n".join(rows) + "\n")
    raise SystemExit(1 if wrong else 0)


if __name__ == "__main__":
    main()
