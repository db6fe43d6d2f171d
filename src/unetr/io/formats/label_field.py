"""Label names as one line of JSON inside an image header: written by us, ignored when broken or another's."""

from __future__ import annotations

import json
import re

from unetr.core.text.reading import parse_json
from unetr.errors import InputError

KEY = "unetr_label_names"
_VALUE = re.compile(r"-?[0-9]{1,10}")


def label_names_to_json(names: dict[int, str]) -> str:
    """One line of ASCII, e.g. {"1": "anterior", "2": "posterior"}, values in increasing order."""
    return json.dumps({str(value): names[value] for value in sorted(names)})


def label_names_from_json(text: str) -> dict[int, str]:
    """The names, or none if the text is not what `label_names_to_json` writes, bare or as {KEY: it}."""
    try:
        found = parse_json(text, "label names")
    except InputError:
        return {}
    if isinstance(found, dict):
        found = found.get(KEY, found)
    if not isinstance(found, dict) or not all(isinstance(name, str) for name in found.values()):
        return {}
    values = {int(value): name for value, name in found.items() if _VALUE.fullmatch(value)}
    return values if len(values) == len(found) else {}
