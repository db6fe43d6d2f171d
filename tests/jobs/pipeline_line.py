"""Three stages of a pipeline that note what happens to them."""

from __future__ import annotations

import threading

from unetr.jobs.predict.pipeline import Outcome, run_pipeline


class Line:
    """Three stages that note what happens. raises: (stage, case) -> error. Values are what each stage was given."""

    def __init__(self, raises: dict[tuple[str, int], Exception] | None = None) -> None:
        self.raises = raises or {}
        self.begun: list[tuple[str, int]] = []
        self.told: list[Outcome[int, str]] = []

    def _stage(self, stage: str, case: int) -> None:
        self.begun.append((stage, case))
        if (stage, case) in self.raises:
            raise self.raises[stage, case]

    def read(self, case: int) -> str:
        self._stage("read", case)
        return f"scan {case}"

    def compute(self, case: int, scan: str) -> str:
        assert threading.current_thread() is threading.main_thread()
        self._stage("compute", case)
        return f"result of {scan}"

    def write(self, case: int, result: str) -> str:
        self._stage("write", case)
        return f"file of {result}"

    def run(self, cases: int) -> None:
        run_pipeline(range(cases), self.read, self.compute, self.write, self.told.append)

    @property
    def summary(self) -> list[tuple[int, str]]:
        return [(o.case, str(o.error) if o.error else str(o.written)) for o in self.told]
