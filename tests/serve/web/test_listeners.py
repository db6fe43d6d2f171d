"""Many who listen at once hear each event as soon as one would."""

from __future__ import annotations

import asyncio
import threading
import time

import anyio
import httpx
from tests.serve.running import Served, nifti_scan

from unetr.queue.children.changes import Changes
from unetr.serve.web.threads import Waits

LISTENERS = 150


def test_all_of_many_listeners_hear_of_the_end_at_once(served: Served) -> None:
    """More than any number of threads that a server would have."""
    scans = [served.upload(nifti_scan(90 + number, (96, 96, 96))) for number in range(2)]
    running, waiting = (served.submit(one, tta=True) for one in scans)
    base = str(served.client.base_url)

    async def listen(client: httpx.AsyncClient, heard: list[float]) -> None:
        async with client.stream("GET", f"/api/jobs/{waiting}/events") as answer:
            async for line in answer.aiter_lines():
                now = time.monotonic()
                heard += [now] * (line == "event: end")

    async def all_of_them() -> tuple[float, list[float]]:
        heard: list[float] = []
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(base_url=base, limits=limits, timeout=60) as client, asyncio.TaskGroup() as group:
            for _ in range(LISTENERS):
                group.create_task(listen(client, heard))
            while served.client.get("/metrics").text.find(f"unetr_http_listeners {LISTENERS}\n") < 0:
                await asyncio.sleep(0.05)
            served.client.post(f"/api/jobs/{waiting}/cancel")
            began = time.monotonic()
        return began, heard

    began, heard = asyncio.run(all_of_them())
    served.client.post(f"/api/jobs/{running}/cancel")
    assert len(heard) == LISTENERS
    assert max(heard) - began < 3


def test_nothing_is_missed_between_looking_and_waiting() -> None:
    """Changes come from another thread all the time; whoever waits has seen the last one."""
    changes = Changes()
    waits = Waits(changes)  # type: ignore[arg-type]
    changed = threading.Event()

    def change() -> None:
        for _ in range(300):
            changes.note("job")
            time.sleep(0.0005)
        changed.set()

    async def follow() -> int:
        seen = 0
        while seen < 300:
            with anyio.fail_after(5):
                seen = await waits.change("job", seen, 60)
        return seen

    thread = threading.Thread(target=change)
    thread.start()
    assert asyncio.run(follow()) == 300
    thread.join()
    assert changed.is_set()
    assert changes._listeners == {}
    assert asyncio.run(waits.change("job", 300, 0.01)) == 300
