"""`unetr node`, killed between the PACS's yes and reading back, with a real Orthanc: one object, once, as written.

All states, ten times each: benchmarks/node_delivery.py.
"""

from __future__ import annotations

import sys
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
            until(proxy.asked_back.is_set, "sent")
            (letter,) = node.rows("SELECT * FROM deliveries")
            assert letter["state"] == "sent"
            node.kill()
            proxy.fault = ""
            proxy.released.set()
            node.start()
            until(node.in_state(study, "delivered"), "delivered")
            assert problems(node, orthanc, study) == []
            assert [one for one in proxy.seen if one.startswith("POST")] == ["POST 200"]
        finally:
            node.kill()
    audit = (node.queue / "audit.jsonl").read_text()
    assert "delivered: dicom-seg to pacs" in audit
