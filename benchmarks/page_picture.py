"""Draws the pictures of the page that the documentation shows: `python benchmarks/page_picture.py`.

A real Chromium, the real server and the demonstration's scan. Writes docs/page.png (1280 pixels wide) and
docs/page-narrow.png (390).
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Browser

TREE = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TREE))

from tests.serve.chromium import running_chromium  # noqa: E402
from tests.serve.page.acts import wait_for_result  # noqa: E402
from tests.serve.running import running  # noqa: E402

SCAN = TREE / "src" / "unetr" / "jobs" / "demo" / "scan" / "scan.nii.gz"
PICTURES = {"page.png": (1280, 800), "page-narrow.png": (390, 844)}
# The network is compiled and the volumes are drawn in software.
_SETTLED_MS = 4000


def main() -> int:
    with running_chromium() as browser, tempfile.TemporaryDirectory() as folder, running(Path(folder) / "q") as served:
        for name, size in PICTURES.items():
            draw(browser, str(served.client.base_url), name, size)
    return 0


def draw(browser: Browser, address: str, name: str, size: tuple[int, int]) -> None:
    """One picture, of a result."""
    page = browser.new_page(viewport={"width": size[0], "height": size[1]})
    page.goto(address)
    page.wait_for_selector("body[data-phase=empty] .front-card")
    page.set_input_files("#files", SCAN)
    wait_for_result(page)
    page.wait_for_timeout(_SETTLED_MS)
    path = TREE / "docs" / name
    page.screenshot(path=path)
    print(f"{path.relative_to(TREE)}: {size[0]} x {size[1]}, {path.stat().st_size / 1000:.0f} kB")
    page.close()


if __name__ == "__main__":
    sys.exit(main())
