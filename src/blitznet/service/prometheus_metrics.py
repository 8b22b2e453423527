"""Prometheus metrics of the service."""

from collections.abc import Mapping

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

from blitznet.service.prediction_queue import PredictionQueue

# Seconds, from a small network on a GPU to a large one on a busy CPU.
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class ServiceMetrics:
    """Metrics of one service, separate from others in the same process.

    Args:
        queue: queue whose length and busy workers are reported.
    """

    def __init__(self, queue: PredictionQueue) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)  # process_resident_memory_bytes, ...
        self._requests = Counter(
            "blitznet_requests", "Requests by path and status.", ("path", "status"),
            registry=self._registry,
        )  # fmt: skip
        self._stages = Histogram(
            "blitznet_stage_seconds",
            "Time of a prediction by stage: queue, read, network, post, encode; request is all.",
            ("stage",), buckets=_BUCKETS, registry=self._registry,
        )  # fmt: skip
        for name, text, value in (
            ("queue_length", "Requests waiting for a worker.", lambda: queue.waiting),
            ("workers_busy", "Busy workers.", lambda: queue.busy),
            ("workers", "Workers.", lambda: queue.workers),
        ):
            Gauge(f"blitznet_{name}", text, registry=self._registry).set_function(value)

    def count_request(self, path: str, status: int) -> None:
        """Count an answered request; `path` is a route's, to limit the number of labels."""
        self._requests.labels(path, str(status)).inc()

    def observe(self, milliseconds: Mapping[str, float]) -> None:
        """Record the times of one prediction by stage."""
        for stage, time in milliseconds.items():
            self._stages.labels(stage).observe(time / 1000)

    def text(self) -> bytes:
        """Format the metrics in Prometheus' text format."""
        return generate_latest(self._registry)
