"""Pieces of pages for people: HTML in which every foreign word is escaped."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Sequence

from unetr.printable import printable_lines


class Html(str):
    """Text that is HTML already; every other str is escaped by `markup`."""

    __slots__ = ()


def markup(value: object) -> Html:
    """Any value as HTML: Html as it is, everything else escaped, and what turns the order of letters or is none."""
    return value if isinstance(value, Html) else Html(html.escape(printable_lines(str(value))))


def element(tag: str, content: object, class_name: str = "") -> Html:
    """<tag class="…">content</tag>."""
    attribute = f' class="{html.escape(class_name)}"' if class_name else ""
    return Html(f"<{tag}{attribute}>{markup(content)}</{tag}>")


def joined(parts: Iterable[object]) -> Html:
    """Pieces one after another."""
    return Html("\n".join(markup(part) for part in parts))


def table(header: Sequence[object], rows: Iterable[Sequence[object]], class_name: str = "") -> Html:
    """A table in a box that scrolls sideways on narrow screens; the first cell of each row is its heading."""
    head = joined(Html(f'<th scope="col">{markup(cell)}</th>') for cell in header)
    body = []
    for first, *rest in rows:
        cells = joined(element("td", cell) for cell in rest)
        body.append(f'<tr><th scope="row">{markup(first)}</th>{cells}</tr>')
    attribute = f' class="{html.escape(class_name)}"' if class_name else ""
    thead = f"<thead><tr>{head}</tr></thead>" if header else ""
    return Html(f'<div class="scroll"><table{attribute}>{thead}<tbody>{"".join(body)}</tbody></table></div>')


def picture(png: bytes, description: str, class_name: str = "") -> Html:
    """A PNG inside the page."""
    data = base64.b64encode(png).decode("ascii")
    attribute = f' class="{html.escape(class_name)}"' if class_name else ""
    return Html(f'<img{attribute} alt="{markup(description)}" src="data:image/png;base64,{data}">')
