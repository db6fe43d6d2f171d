"""A PACS, and a proxy before it that fails as it is told to."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.node.delivery.fault_proxy import FaultProxy, fault_proxy
from tests.orthanc import Orthanc, running_orthanc


@pytest.fixture(scope="module")
def pacs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    """One for all tests of a file: each sends a study of its own."""
    with running_orthanc(tmp_path_factory.mktemp("orthanc")) as running:
        yield running


@pytest.fixture
def proxy(pacs: Orthanc) -> Iterator[FaultProxy]:
    with fault_proxy(pacs.url) as made:
        yield made
