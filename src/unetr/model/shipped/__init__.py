"""The models that come with the package: NAME.safetensors and its card NAME.md, in this folder. Add both to add one."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

_SUFFIX = ".safetensors"


@dataclass(frozen=True, slots=True)
class ShippedModel:
    """name: what commands take in place of a path. card: what it is, of what data, its scores and limits (Markdown)."""

    name: str
    path: Path
    card: str


def shipped_models() -> tuple[ShippedModel, ...]:
    """All of them, by name."""
    found = []
    for entry in sorted(files(__name__).iterdir(), key=lambda entry: entry.name):
        if entry.name.endswith(_SUFFIX):
            with as_file(entry) as path:  # wheels are unpacked when they are installed: the file itself
                card = path.with_suffix(".md").read_text(encoding="utf-8")
                found.append(ShippedModel(entry.name.removesuffix(_SUFFIX), path, card))
    return tuple(found)


def find_model(path: Path) -> Path:
    """The path itself where it exists or is no name of a shipped model, else the shipped model's file."""
    if path.exists():
        return path
    return next((model.path for model in shipped_models() if model.name == str(path)), path)
