"""A node's settings file: what is refused, in words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from unetr.errors import InputError
from unetr.node.settings import NodeSettings, read_settings

RULE: dict[str, Any] = {"name": "r", "model": "hippocampus", "when": {"modality": "MR"}}
LEAST: dict[str, Any] = {"models": "hippocampus", "rules": [RULE]}


def _read(tmp_path: Path, **given: Any) -> NodeSettings:
    path = tmp_path / "node.yaml"
    path.write_text(json.dumps(LEAST | given), encoding="utf-8")
    return read_settings(path)


def test_the_least_listens_to_this_machine_alone(tmp_path: Path) -> None:
    found = _read(tmp_path)
    assert found.listen is not None and found.listen.address == "127.0.0.1"
    assert found.rules[0].settings().forms == ("dicom-seg",)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"listen": {"adress": "::1"}}, "listen.adress: unknown key"),
        ({"listen": {"address": "0.0.0.0"}}, "expected `callers`"),
        ({"listen": {"address": "0.0.0.0", "callers": "CT1"}}, "expected `tls`, or `insecure: true`"),
        ({"listen": {"address": "here"}}, "is no IP address"),
        ({"listen": {"title": "A TITLE THAT IS TOO LONG"}}, "AE title"),
        ({"listen": {"addresses": "10.0.0.0/33"}}, "10.0.0.0/33"),
        ({"models": []}, "at least one of `models`"),
        ({"rules": LEAST["rules"] * 2}, "two of `rules` have one name"),
        ({"listen": None}, "nothing would ever come"),
        (
            {
                "deliver": [{"name": "p", "dicomweb": {"url": "http://pacs"}}],
                "rules": [RULE | {"go_on": True}, RULE | {"name": "s", "destinations": "p"}],
            },
            "rules r and s ask for the same work",
        ),
        ({"pull": [{"name": "p"}]}, "either `orthanc` or `dicomweb`"),
        ({"pull": [{"name": "p", "orthanc": {"url": "file:///etc"}}]}, "pull.0.orthanc.url"),
        ({"pull": [{"name": "p", "orthanc": {"url": "http://me:secret@pacs"}}]}, "pull.0.orthanc.url"),
        ({"pull": [{"name": "p", "orthanc": {"url": "http://pacs", "user": "me"}}]}, "belong together"),
    ],
)
def test_what_cannot_be_is_said(tmp_path: Path, given: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said) as told:
        _read(tmp_path, **given)
    assert str(tmp_path / "node.yaml") in str(told.value) and "secret" not in str(told.value)


def test_another_address_by_decision(tmp_path: Path) -> None:
    found = _read(tmp_path, listen={"address": "0.0.0.0", "callers": "CT1", "insecure": True, "port": 0})
    assert found.listen is not None and found.listen.callers == ("CT1",)
