"""What makes two jobs one, and whose a running job is."""

from __future__ import annotations

from contextlib import closing
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from tests.queue.conftest import MODEL, ended

from unetr.queue.folder import open_folder
from unetr.queue.record import JobSpec, JobState, ResultFile, Settings
from unetr.queue.service import Service
from unetr.queue.store import JobStore

SPEC = JobSpec(scan="a" * 32, model="hippocampus", model_sha256="b" * 64, version="1")
# Of each field another value than SPEC's.
OTHERS: dict[str, Any] = {"scan": "c" * 32, "model_sha256": "d" * 64, "version": "2", "settings": Settings(tta=True)}
OTHER_SETTINGS: dict[str, Any] = {
    "tta": True,
    "uncertainty": True,
    "strict": True,
    "assume_affine": True,
    "series": ("1.2.3",),
    "forms": ("dicom-seg",),
}


def test_the_names_below_are_all_fields() -> None:
    assert set(OTHERS) | {"model"} == {each.name for each in fields(JobSpec)}
    assert set(OTHER_SETTINGS) == {each.name for each in fields(Settings)}


@pytest.mark.parametrize("name", OTHERS)
def test_other_work_is_another_job(name: str) -> None:
    other = replace(SPEC, **{name: OTHERS[name]})
    assert other.key != SPEC.key and other.id != SPEC.id


@pytest.mark.parametrize("name", OTHER_SETTINGS)
def test_each_setting_makes_another_job(name: str) -> None:
    other = replace(SPEC, settings=Settings(**{name: OTHER_SETTINGS[name]}))
    assert other.key != SPEC.key and other.id != SPEC.id


def test_the_order_of_channels_counts_and_a_models_name_does_not() -> None:
    there, back = (replace(SPEC, settings=Settings(series=series)) for series in (("1", "2"), ("2", "1")))
    assert there.key != back.key
    assert replace(SPEC, model="renamed").key == replace(SPEC).key


def test_who_lost_a_job_can_neither_write_nor_renew_nor_give_it_back(tmp_path: Path) -> None:
    """An engine that was silent for too long comes back when another has its job."""
    now = [1000.0]
    with closing(JobStore(tmp_path / "jobs.sqlite3", clock=lambda: now[0])) as store:
        job = store.submit(SPEC, state=JobState.READY).id
        assert store.claim("first", lease_s=10) is not None
        now[0] += 11
        taken = store.claim("second", lease_s=10)
        assert taken is not None and (taken.id, taken.attempts) == (job, 2)
        result = ResultFile(form="labels", name="labels.nii.gz", bytes=1, sha256="0" * 64)
        assert not store.make_written(job, "first", [result], {})
        assert not store.renew(job, "first", 10)
        store.give_back(job, "first")
        store.release(job, "first")
        assert store.job(job) == taken
        assert store.make_written(job, "second", [result], {})
        assert store.job(job).results == (result,)


def test_what_ran_when_a_service_ended_waits_for_no_lease(tmp_path: Path) -> None:
    """Its owner is gone, however long it had the job for. Here the job ends at once, as its scan is not there."""
    with closing(JobStore(open_folder(tmp_path / "q").database)) as store:
        job = store.submit(replace(SPEC, model=MODEL), state=JobState.READY).id
        assert store.claim("gone", lease_s=1e6) is not None
    with Service(tmp_path / "q", [MODEL]) as service:
        assert ended(service, service.store.job(job)).state is JobState.FAILED
