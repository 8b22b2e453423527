"""A record of the speed benchmark, made up."""

from typing import Any

from blitznet.bench.record import Machine, SpeedRecord, SpeedRow, Spread

REFERENCE = "torchvision ssd300_vgg16"


def spread_of(median: float) -> Spread:
    return Spread(median=median, least=median / 2, quarter=median - 0.25, three_quarters=median + 1)


def make_row(network: str, total: float, **changes: Any) -> SpeedRow:
    values: dict[str, Any] = {
        "network": network,
        "kind": "ours",
        "tasks": "boxes and map",
        "runtime": "torch",
        "batch": 1,
        "input_size": 300,
        "anchors": 11_640,
        "parameters": 3_600_000,
        "trained": True,
        "boxes_found": 20.5,
        "preprocess": spread_of(1),
        "network_ms": spread_of(total - 3),
        "postprocess": spread_of(2),
        "total": spread_of(total),
        "fps": 1000 / total,
        "files_fps": 950 / total,
        "peak_memory_mib": 512.25,
        "gflops": 1.5,
        "pictures": 64,
    }
    return SpeedRow(**values | changes)


def make_record(rows: list[SpeedRow], **changes: Any) -> SpeedRecord:
    machine = Machine(
        device="Example CPU",
        device_type="cpu",
        cpu="Example CPU",
        cores=2,
        threads=2,
        memory_gib=24.0,
        system="Linux x86_64",
        versions={"torch": "2.12.1"},
    )
    values: dict[str, Any] = {
        "machine": machine,
        "data": "drawn",
        "pictures": 16,
        "picture_size": (500.0, 375.0),
        "score": 0.01,
        "rounds": 5,
        "seconds": 2.0,
        "clocks": {"total": "from the decoded picture to boxes and map"},
        "decode": spread_of(1.5),
        "reference": REFERENCE,
        "rows": tuple(rows),
    }
    return SpeedRecord(**values | changes)
