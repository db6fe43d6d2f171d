"""`unetr node`, killed between the PACS's yes and reading back, with a real Orthanc: one object, once, as written.

All states, ten times each: benchmarks/node_delivery.py.
"""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from tests.node.delivery.fault_proxy import fault_proxy
from tests.node.delivery.running_node import RunningNode, Study, problems, until
from tests.orthanc import Orthanc

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks for child processes in /proc")


def test_is_there_once_after_a_kill(tmp_path: Path, orthanc: Orthanc) -> None:
    with fault_proxy(orthanc.url) as proxy:
        node, study = RunningNode(tmp_path / "node", f"{proxy.url}/dicom-web"), Study(tmp_path / "study", 0)
        proxy.fault = "hold back"
        node.start()
        try:
            assert node.send(study.folder)
            until(proxy.asked_back.is_set, "sent", 120)
            (letter,) = node.rows("SELECT * FROM deliveries")
            assert letter["state"] == "sent"
            node.kill()
            proxy.fault = ""
            proxy.released.set()
            node.start()
            until(node.in_state(study, "delivered"), "delivered", 120)
            assert problems(node, orthanc, study) == []
            assert [one for one in proxy.seen if one.startswith("POST")] == ["POST 200"]
            routed_back(orthanc, node)
            assert len(node.rows("SELECT id FROM jobs")) == 1
            assert problems(node, orthanc, study) == []
        finally:
            node.kill()
    audit = (node.queue / "audit.jsonl").read_text()
    assert "delivered: dicom-seg to pacs" in audit


def routed_back(pacs: Orthanc, node: RunningNode) -> None:
    """What a PACS does that sends all that it gets to the node: our own results, three times."""
    pacs.know("unetr", "UNETR", node.port)
    for _ in range(3):
        with suppress(OSError):  # the node may refuse them
            pacs.send("unetr", [one["ID"] for one in pacs.instances("SEG")])
    time.sleep(1.5)  # a series is ready after 0.3 s
