"""Checks the built documentation: no page is missing, no link is broken, nothing is loaded from elsewhere.

    uv run python tools/check_site.py [site]

The generator checks links between Markdown pages. This looks at what it wrote: links and anchors of the HTML itself
(also those of the generated Python reference), pictures, pages that no navigation leads to, and every address that
a browser would open by itself.
"""

from __future__ import annotations

import argparse
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# What a browser follows only when somebody clicks on it.
_CLICKED = {("a", "href")}
# Classes for which the generator's script would fetch a library from a network.
_FETCHED = {"mermaid", "glightbox", "arithmatex"}


class Page(HTMLParser):
    """The ids of a page, and the addresses that it links to or loads."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {key: value or "" for key, value in attrs}
        self.ids.update(given[key] for key in ("id", "name") if key in given)
        self.loads += [name for name in given.get("class", "").split() if name in _FETCHED]
        for key in ("href", "src", "data", "poster"):
            if key in given and not (tag == "link" and given.get("rel") in ("canonical", "prev", "next")):
                (self.links if (tag, key) in _CLICKED else self.loads).append(given[key])


def problems(site: Path, docs: Path) -> list[str]:
    """One line for each thing that is wrong with the pages in `site`, made from the Markdown in `docs`."""
    pages = {path: _parsed(path) for path in sorted(site.rglob("*.html"))}
    found = [
        f"{source}: no page was built of it"
        for source in sorted(docs.rglob("*.md"))
        if site / source.relative_to(docs).with_suffix(".html") not in pages
    ]
    reached = set()
    for path, page in pages.items():
        name = path.relative_to(site)
        found += [f"{name}: loads {url} from elsewhere" for url in page.loads if _elsewhere(url)]
        for url in [*page.links, *page.loads]:
            # The page for missing pages is shown under any address: its links are made for a server's root.
            if _elsewhere(url) or path.name == "404.html" or not url or url in _FETCHED or url.startswith("data:"):
                continue
            target, anchor = _target(path, url)
            if target != path:
                reached.add(target)
            if not target.exists():
                found.append(f"{name}: {url} leads nowhere")
            elif anchor and target in pages and anchor not in pages[target].ids:
                found.append(f"{name}: {url} names an anchor that is not there")
    found += [
        f"{path.relative_to(site)}: no other page leads to it"
        for path in pages
        if path not in reached and path.name != "404.html"
    ]
    return found


def _parsed(path: Path) -> Page:
    page = Page()
    page.feed(path.read_text(encoding="utf-8"))
    return page


def _elsewhere(url: str) -> bool:
    parts = urlsplit(url)
    return (bool(parts.scheme or parts.netloc) and parts.scheme != "data") or url in _FETCHED


def _target(path: Path, url: str) -> tuple[Path, str]:
    parts = urlsplit(url)
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    return (target / "index.html" if target.is_dir() else target), unquote(parts.fragment)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("site", type=Path, nargs="?", default=Path("site"))
    parser.add_argument("--docs", type=Path, default=Path("docs"))
    arguments = parser.parse_args()
    found = problems(arguments.site.resolve(), arguments.docs.resolve())
    for problem in found:
        sys.stderr.write(f"{problem}\n")
    count = len(list(arguments.site.rglob("*.html")))
    sys.exit(f"{len(found)} problems in {count} pages" if found or not count else 0)


if __name__ == "__main__":
    main()
