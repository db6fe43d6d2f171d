"""Counts in Prometheus' text format."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from unetr.core.version import __version__
from unetr.queue.record import JobState
from unetr.queue.service import Health
from unetr.serve.web.meters import BUCKETS_S, Meters

Sample = tuple[Mapping[str, object], float]


def exposition(meters: Meters, counts: Mapping[JobState, int], health: Health) -> str:
    """All counts. counts: of the jobs in each state."""
    blocks = [
        _block("unetr_info", "gauge", "What runs here", [({"version": __version__}, 1)]),
        _block("unetr_jobs", "gauge", "Jobs in each state", [({"state": s}, n) for s, n in counts.items()]),
        *_health(health),
        _block(
            "unetr_http_requests_total",
            "counter",
            "Requests that were answered",
            [({"method": m, "route": r, "status": s}, n) for (m, r, s), n in sorted(meters.requests.items())],
        ),
        _histograms(meters),
        _block("unetr_http_received_bytes_total", "counter", "Bytes of requests", [({}, meters.received_bytes)]),
        _block("unetr_http_sent_bytes_total", "counter", "Bytes of answers", [({}, meters.sent_bytes)]),
        _block("unetr_http_listeners", "gauge", "Event streams that are open", [({}, meters.listeners)]),
    ]
    return "".join(blocks)


def _health(health: Health) -> list[str]:
    gauges: list[tuple[str, str, str, float]] = [
        ("unetr_engine_up", "gauge", "Whether the engine runs", int(health.engine)),
        ("unetr_engine_restarts_total", "counter", "How often engine or reader were started again", health.restarts),
        ("unetr_queue_waiting", "gauge", "Jobs that wait", health.waiting),
        ("unetr_queue_oldest_seconds", "gauge", "How long the oldest job waits", health.oldest_waiting_s),
        ("unetr_disk_short", "gauge", "Whether a result waits for room on the disk", int(health.no_room)),
        ("unetr_disk_free_bytes", "gauge", "Free disk", health.free_bytes),
    ]
    return [_block(name, kind, told, [({}, value)]) for name, kind, told, value in gauges]


def _histograms(meters: Meters) -> str:
    name = "unetr_http_request_seconds"
    lines = [f"# HELP {name} Seconds until a request was answered", f"# TYPE {name} histogram"]
    for route, histogram in sorted(meters.seconds.items()):
        below = 0
        for limit, count in zip((*BUCKETS_S, "+Inf"), histogram.counts, strict=True):
            below += count
            lines.append(_line(f"{name}_bucket", {"route": route, "le": limit}, below))
        lines.append(_line(f"{name}_sum", {"route": route}, histogram.total_s))
        lines.append(_line(f"{name}_count", {"route": route}, below))
    return "\n".join(lines) + "\n"


def _block(name: str, kind: str, told: str, samples: Iterable[Sample]) -> str:
    lines = [f"# HELP {name} {told}", f"# TYPE {name} {kind}", *(_line(name, labels, n) for labels, n in samples)]
    return "\n".join(lines) + "\n"


def _line(name: str, labels: Mapping[str, object], value: float) -> str:
    inside = ",".join(f'{key}="{_escaped(str(told))}"' for key, told in labels.items())
    return f"{name}{{{inside}}} {value:.10g}" if inside else f"{name} {value:.10g}"


def _escaped(told: str) -> str:
    return told.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
