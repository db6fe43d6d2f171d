"""The names of the presets, in the order in which they are told; what each stands for is in `presets.py`.

They are apart from it because the help of commands tells them, and is to be there at once.
"""

from __future__ import annotations

from typing import Final

AUTO: Final = "auto"
PRESET_NAMES: Final = ("paper", "small", "medium", "large", "tiny")
