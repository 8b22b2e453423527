"""What `blitznet bench train --json FILE` writes."""

from typing import Literal

from blitznet.bench.record import FORMAT_VERSION, Frozen, Machine, Spread


class TrainRow(Frozen):
    """How fast one network learns.

    Attributes:
        network: its name.
        input: where its batches come from.
        batch: pictures a step.
        precision: fp32, or bf16 by autocast.
        input_size: side of the network's input in pixels.
        parameters: of the network.
        step_ms: milliseconds of a step with a fixed batch.
        pictures_per_second: of the median of these.
        real_pictures_per_second: with real input, over all steps.
        opened_s: seconds until the first of these can be asked for.
        waiting: share of these in which the device waits for input, or makes it, 0..1.
        peak_memory_mib: of the process that trains, libraries included and workers not; on a GPU,
            of its memory. 2^20 bytes.
    """

    network: str
    input: Literal["workers", "device"] = "workers"  # "device": in older records
    batch: int
    precision: str
    input_size: int
    parameters: int
    step_ms: Spread
    pictures_per_second: float
    real_pictures_per_second: float
    opened_s: float = 0.0
    waiting: float
    peak_memory_mib: float | None


class TrainRecord(Frozen):
    """Everything that one run of `blitznet bench train` measured.

    Attributes:
        bench: what was measured.
        format_version: of this file.
        machine: where.
        data: which pictures.
        workers: processes that read them.
        steps: that count, with either input.
        clocks: what is inside each of them.
        rows: the figures.
    """

    bench: Literal["train"] = "train"
    format_version: int = FORMAT_VERSION
    machine: Machine
    data: str
    workers: int
    steps: int
    clocks: dict[str, str]
    rows: tuple[TrainRow, ...]
