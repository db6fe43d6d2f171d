"""A real Orthanc with its DICOMweb plugin for tests, on free ports of this machine; and dcmtk's own senders."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

_PROGRAMS = ("/usr/sbin/Orthanc", "/usr/local/sbin/Orthanc")
_PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
_LONGEST_START_S = 90.0  # on a machine with much else to do


def free_port() -> int:
    """A port of the loopback that nobody listens at."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def dcmtk(program: str) -> str:
    """The path of dcmtk's program. pynetdicom puts one of the same name into a virtual environment: that is not it."""
    found = shutil.which(program, path="/usr/bin:/usr/local/bin:/opt/homebrew/bin")
    if found is None:
        pytest.skip(f"dcmtk's {program} is not on this machine")
    return found


class Orthanc:
    """One Orthanc: its folder and ports stay the same when it is killed and started again.

    url: of its REST interface, without a slash at the end. dicom_web: of its DICOMweb interface. settings: more of
    its configuration, for the next start. login: a user and a password, where the settings ask for them.
    """

    def __init__(
        self, program: str, folder: Path, settings: dict[str, Any], login: tuple[str, str] | None = None
    ) -> None:
        self.folder = folder
        self.aet = "ORTHANC"
        self.http_port, self.dicom_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.http_port}"
        self.dicom_web = f"{self.url}/dicom-web"
        self.settings = settings
        self._login = login
        self._program = program
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it and waits until it answers."""
        told = {
            "Name": "test",
            "StorageDirectory": str(self.folder / "storage"),
            "IndexDirectory": str(self.folder / "storage"),
            "HttpPort": self.http_port,
            "DicomPort": self.dicom_port,
            "DicomAet": self.aet,
            "DicomAlwaysAllowStore": True,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "StableAge": 1,
            "Plugins": [str(_PLUGIN)],
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
        }
        self.folder.mkdir(parents=True, exist_ok=True)
        configuration = self.folder / "orthanc.json"
        configuration.write_text(json.dumps(told | self.settings), encoding="utf-8")
        with (self.folder / "orthanc.log").open("ab") as log:
            self._process = subprocess.Popen([self._program, str(configuration)], stdout=log, stderr=log)
        end = time.monotonic() + _LONGEST_START_S
        while time.monotonic() < end:
            if self._process.poll() is not None:
                break
            try:
                self.get("/system")
                return
            except OSError:
                time.sleep(0.05)
        self.kill()
        raise RuntimeError(f"Orthanc did not start: {(self.folder / 'orthanc.log').read_text()[-2000:]}")

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """Ends it without a warning, as a power cut does."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def get(self, path: str) -> Any:
        """The JSON that it answers."""
        return json.loads(self.fetch(path))

    def fetch(self, path: str, data: bytes | None = None, method: str | None = None) -> bytes:
        """The bytes that it answers. Raises urllib.error.HTTPError, an OSError."""
        request = urllib.request.Request(self.url + path, data=data, method=method)
        if self._login is not None:
            both = base64.b64encode(":".join(self._login).encode()).decode()
            request.add_header("Authorization", f"Basic {both}")
        with urllib.request.urlopen(request, timeout=30) as answer:
            return bytes(answer.read())

    def store(self, files: Sequence[Path]) -> list[str]:
        """Puts files into it; its own names of the instances."""
        return [json.loads(self.fetch("/instances", file.read_bytes()))["ID"] for file in files]

    def know(self, name: str, aet: str, port: int) -> None:
        """Tells it of a DICOM node on this machine that it may send to."""
        self.fetch(f"/modalities/{name}", json.dumps([aet, "127.0.0.1", port]).encode(), "PUT")

    def send(self, name: str, resources: Sequence[str]) -> None:
        """Sends series or instances to a node by C-STORE; returns when it has."""
        self.fetch(f"/modalities/{name}/store", json.dumps(list(resources)).encode())

    def empty(self) -> None:
        """Forgets all that it has, its changes and the nodes that it knows; starts it where it was killed."""
        if not self.is_running:
            self.start()
        for kind in ("patients", "modalities"):
            for one in self.get(f"/{kind}"):
                self.fetch(f"/{kind}/{one}", method="DELETE")
        self.fetch("/changes", method="DELETE")

    def instances(self, modality: str | None = None) -> list[dict[str, Any]]:
        """The main tags of its instances, with their series' `Modality`, SOP class and Orthanc's own `ID`."""
        found = []
        for series in self.get("/series?expand"):
            kind = series["MainDicomTags"].get("Modality", "")
            if modality in (None, kind):
                for one in series["Instances"]:
                    told = self.get(f"/instances/{one}")["MainDicomTags"]
                    found.append(told | {"ID": one, "Modality": kind, "SeriesID": series["ID"]})
        return found

    def file(self, instance: str) -> bytes:
        """An instance as it was stored."""
        return self.fetch(f"/instances/{instance}/file")


@contextmanager
def running_orthanc(folder: Path, login: tuple[str, str] | None = None, **settings: Any) -> Iterator[Orthanc]:
    """An Orthanc that runs until the context ends. Skips the test where it is not on this machine."""
    program = shutil.which("Orthanc") or next((one for one in _PROGRAMS if os.access(one, os.X_OK)), None)
    if program is None or not _PLUGIN.is_file():
        pytest.skip("Orthanc and its DICOMweb plugin are not on this machine (Debian: orthanc, orthanc-dicomweb)")
    made = Orthanc(program, folder, settings, login)
    try:
        made.start()
        yield made
    finally:
        made.kill()
