"""Messages as they may be kept and shown: without places on this machine, and without what a scan's files call
themselves."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from unetr.printable import printable

# What a series is called, in quotes behind its modality: up to the last such end, as the text may hold one itself.
_DESCRIPTION = re.compile(r'\(([A-Z]{1,8}) ".*"\)')
# A name within an archive, which may hold any sign itself: up to the last place where the message can go on behind it.
_ENTRY = re.compile(r"(scan\.zip)/(?:.*(?=: )|.*)")


def plain_words(text: str, folders: Iterable[Path]) -> str:
    """The text without these folders in front of names.

    A folder that is named itself is "the scan". Names of files within archives and descriptions of series, which may
    hold a patient's name, are left out.
    """
    for folder in folders:
        name = printable(str(folder))
        text = text.replace(f"{name}/", "").replace(f"{name}\\", "").replace(name, "the scan")
    return _ENTRY.sub(r"\1", _DESCRIPTION.sub(r"(\1)", text))
