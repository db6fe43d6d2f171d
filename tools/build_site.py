"""Builds the documentation into site/: makes the generated pages, builds strictly, checks what was built.

    uv run --group docs python tools/build_site.py           # build and check
    uv run --group docs python tools/build_site.py --serve   # show it on this machine while it is written

Any warning, broken link or missing page is an error, and so is anything that a page would load from elsewhere.
"""

from __future__ import annotations

import argparse
import subprocess
import sys

from check_site import problems
from reference import REPOSITORY, pages


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--serve", action="store_true")
    serve = parser.parse_args().serve
    for name, text in pages().items():
        page = REPOSITORY / "docs" / name
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(text, encoding="utf-8")
    command = ["serve"] if serve else ["build", "--strict", "--clean"]
    ended = subprocess.run([sys.executable, "-m", "zensical", *command], cwd=REPOSITORY, check=False)
    if ended.returncode or serve:
        sys.exit(ended.returncode)
    found = problems(REPOSITORY / "site", REPOSITORY / "docs")
    sys.exit("\n".join(found) if found else 0)


if __name__ == "__main__":
    main()
