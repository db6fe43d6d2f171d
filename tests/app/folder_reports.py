"""What a folder of predictions holds: its report, and the digests of its files."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def report_of(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "report.json").read_text())
    return found


def states(out: Path) -> dict[str, str]:
    return {case["id"]: case["state"] for case in report_of(out)["cases"]}


def labels(out: Path) -> dict[str, str]:
    return {path.name: sha256(path) for path in out.iterdir() if path.name not in ("report.json", ".unetr_outputs")}
