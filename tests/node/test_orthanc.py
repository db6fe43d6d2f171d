"""The PACS that the other tests of this folder rest on."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
from tests.io.dicom.dicom_maker import write_series
from tests.orthanc import Orthanc, dcmtk


def test_what_is_sent_is_kept_over_a_kill(orthanc: Orthanc, tmp_path: Path) -> None:
    write_series(tmp_path / "series", np.zeros((8, 8, 3), np.int16))
    files = sorted((tmp_path / "series").iterdir())
    sent = [dcmtk("storescu"), "-aec", orthanc.aet, "127.0.0.1", str(orthanc.dicom_port), *map(str, files[:2])]
    subprocess.run(sent, check=True, timeout=30)
    orthanc.store(files[2:])
    orthanc.kill()
    orthanc.start()
    assert len(orthanc.instances("MR")) == 3
    assert {orthanc.file(one["ID"]) for one in orthanc.instances()} >= {files[2].read_bytes()}
