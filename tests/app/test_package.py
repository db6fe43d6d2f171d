"""What the installed package says of itself: its version, and which licences hold for which of its files."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib.metadata import distribution, version
from pathlib import Path
from typing import Any

import yaml

import unetr as package
from unetr.model.shipped import shipped_models

Command = Callable[..., Any]
ROOT = Path(package.__file__).parent
# Of the code, of weights and a scan, and of the library that draws on the server's page.
LICENCES = "Apache-2.0 AND CC-BY-SA-4.0 AND BSD-2-Clause AND BSD-3-Clause AND MIT AND ISC"


def licence_texts() -> dict[str, str]:
    """File name -> text of each licence file that the metadata names."""
    found = distribution("unetr")
    names = found.metadata.get_all("License-File") or []
    return {Path(name).name: found.read_text(f"licenses/{name}") or "" for name in names}


def test_version(unetr: Command) -> None:
    shown = unetr("--version")
    assert (shown.code, shown.out) == (0, f"unetr {version('unetr')}\n")
    assert package.__version__ == version("unetr")


def test_the_metadata_name_all_licences() -> None:
    assert distribution("unetr").metadata["License-Expression"] == LICENCES
    texts = licence_texts()
    assert texts.keys() == {"LICENSE", "NOTICE", "CC-BY-SA-4.0.txt", "niivue.txt"}
    assert "Apache License" in texts["LICENSE"] and "Version 2.0" in texts["LICENSE"]
    assert "Attribution-ShareAlike 4.0 International" in texts["CC-BY-SA-4.0.txt"]
    beside = ROOT / "serve" / "page" / "static" / "vendor" / "niivue.LICENSE.txt"
    assert texts["niivue.txt"] == beside.read_text(encoding="utf-8")
    assert all(name in texts["niivue.txt"] for name in ("BSD 2-Clause", "BSD 3-Clause", "MIT", "ISC"))


def test_the_citation_names_this_version_and_these_licences() -> None:
    cited = yaml.safe_load((ROOT.parents[1] / "CITATION.cff").read_text(encoding="utf-8"))
    assert cited["cff-version"] == "1.2.0" and cited["version"] == version("unetr")
    assert " AND ".join(cited["license"]) == distribution("unetr").metadata["License-Expression"]
    assert cited["preferred-citation"]["title"].startswith("UNETR: Transformers for 3D Medical Image Segmentation")


def test_the_notice_names_every_file_that_is_not_code() -> None:
    notice = re.sub(r"\s+", " ", licence_texts()["NOTICE"])
    data = [path for path in ROOT.rglob("*") if path.suffix in (".safetensors", ".gz", ".png", ".npz")]
    data += [path for path in ROOT.rglob("vendor/*") if path.suffix == ".js"]
    assert len(data) >= 3
    for path in data:
        assert path.name in notice, path
    for model in shipped_models():
        assert "CC-BY-SA 4.0" in model.card
        assert f"unetr/model/shipped/{model.name}.safetensors" in notice
