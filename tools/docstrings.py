"""Docstrings as Markdown, for the page of the Python reference: an extension of griffe, which reads them.

In the code they are prose for people who read the code: "path: where it goes. dtype: of the voxels. Raises InputError."
Here the sentences about parameters and attributes become a list, what is raised a paragraph, and examples blocks.
"""

from __future__ import annotations

import re
from typing import Any

import griffe


class DocstringsAsMarkdown(griffe.Extension):
    """Rewrites every docstring before it is shown."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Called for each module, class, function and attribute once it and its members are known."""
        if obj.docstring is not None:
            obj.docstring.value = as_markdown(obj.docstring.value, _names(obj))


def _names(obj: griffe.Object) -> set[str]:
    """What a docstring may speak of by name: parameters of a function, attributes and parameters of a class."""
    if isinstance(obj, griffe.Function):
        return {parameter.name for parameter in obj.parameters}
    if isinstance(obj, griffe.Class):
        return {*obj.attributes, *(parameter.name for parameter in obj.parameters)}
    return set()


def as_markdown(text: str, names: set[str]) -> str:
    """The docstring with lists of what is named, and fenced examples."""
    paragraphs = [
        _example(part) if part.lstrip().startswith(">>>") else _listed(part, names) for part in text.split("\n\n")
    ]
    return "\n\n".join(paragraphs)


def _example(part: str) -> str:
    return f"```pycon\n{part.strip(chr(10))}\n```"


def _listed(part: str, names: set[str]) -> str:
    """A paragraph whose sentences start with names and colons, as a list; the others as they are."""
    text = " ".join(part.split()).replace("->", "→")
    named = r"\w+(?:, \w+)*"
    starts = [
        found.start(1)
        for found in re.finditer(rf"(?:^|(?<=\. )|(?<=\.\) ))({named}): ", text)
        if set(found[1].split(", ")) <= names
    ]
    last = re.search(r"(?:^|(?<=\. ))(?=(?:Raises|Returns) )", text)
    end = last.start() if last else len(text)
    starts = [start for start in starts if start < end]
    if not starts:
        return text if not last or not last.start() else f"{text[:end].strip()}\n\n{text[end:]}"
    items = [text[start:stop].strip() for start, stop in zip(starts, [*starts[1:], end], strict=True)]
    shown = [re.sub(rf"^({named}): ", _as_code, item) for item in items]
    return "\n\n".join(filter(None, [text[: starts[0]].strip(), "\n".join(f"- {item}" for item in shown), text[end:]]))


def _as_code(found: re.Match[str]) -> str:
    return ", ".join(f"`{name}`" for name in found[1].split(", ")) + ": "
