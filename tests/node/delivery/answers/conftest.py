"""A result that is to be sent."""

from __future__ import annotations

import pytest
from tests.node.delivery.made import MadeResults, results_in, written_job


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> MadeResults:
    folder = tmp_path_factory.mktemp("made")
    made = results_in(folder / "queue")
    written_job(made, folder / "series", {"pacs": ("dicom-seg",)})
    return made
