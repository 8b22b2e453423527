"""Prometheus metrics of the service."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from blitznet.service.prediction_queue import PredictionQueue

# Seconds, from a small network on a GPU to a large one on a busy CPU.
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class ServiceMetrics:
    """Metrics of one service, separate from others in the same process.

    Args:
        queue: queue whose length and busy workers are reported.

    Attributes:
        requests: requests by path and status; paths are those of routes, to limit their number.
        stages: seconds of a prediction by stage.
    """

    def __init__(self, queue: PredictionQueue) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)  # process_resident_memory_bytes, ...
        self.requests = Counter(
            "blitznet_requests", "Requests by path and status.", ("path", "status"),
            registry=self.registry,
        )  # fmt: skip
        self.stages = Histogram(
            "blitznet_stage_seconds",
            "Time of a prediction by stage: queue, read, network, post, encode; request is all.",
            ("stage",), buckets=_BUCKETS, registry=self.registry,
        )  # fmt: skip
        for name, text, value in (
            ("queue_length", "Requests waiting for a worker.", lambda: queue.waiting),
            ("workers_busy", "Busy workers.", lambda: queue.busy),
            ("workers", "Workers.", lambda: queue.workers),
        ):
            Gauge(f"blitznet_{name}", text, registry=self.registry).set_function(value)
