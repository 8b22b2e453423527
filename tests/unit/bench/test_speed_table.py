"""What people see of a speed benchmark."""

import io

import pytest
from rich.console import Console

from blitznet.bench.record import SpeedRecord
from blitznet.bench.speed import with_ratios
from blitznet.bench.speed_table import best_lines, speed_table
from speed_records import REFERENCE, make_record, make_row


def rendered(record: SpeedRecord) -> str:
    console = Console(width=200, file=io.StringIO())
    console.print(speed_table(record))
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def make_rows() -> list:  # type: ignore[type-arg]
    return with_ratios(
        [
            make_row("blitznet300", 40, trained=False),
            make_row("blitznet300", 25, runtime="openvino-bf16", batch=8, peak_memory_mib=None),
            make_row("blitznet300", 60, kind="two networks"),
            make_row(REFERENCE, 200, kind="peer", tasks="boxes", runtime="torch-nchw"),
            make_row(REFERENCE, 100, kind="peer", tasks="boxes", files_fps=None),
            make_row(REFERENCE, 50, kind="peer", tasks="boxes", batch=8),
        ]
    )


def test_ratios_are_to_every_runtime_of_the_reference_at_its_smallest_batch() -> None:
    first, second, *_ = make_rows()
    assert first.times_as_fast == pytest.approx({"torch-nchw": 5, "torch": 2.5})
    assert second.times_as_fast == pytest.approx({"torch-nchw": 8, "torch": 4})


def test_without_the_reference_there_are_no_ratios() -> None:
    record = make_record(with_ratios([make_row("a", 10)]))
    assert record.rows[0].times_as_fast == {}
    assert "SSD300" not in rendered(record)
    assert best_lines(record) == ["a: 100.0 pictures a second with torch, batch 1"]


def test_every_row_is_in_the_table_with_its_figures() -> None:
    text = rendered(make_record(make_rows(), left_out={"tensorrt": "not installed"}))
    lines = {line.split("│")[1].strip(): line for line in text.splitlines() if "│" in line}
    assert "40.0 (39.8, 41.0)" in lines["blitznet300*"]  # a star for random weights
    figures = [cell.strip() for cell in lines["blitznet300*"].split("│")[9:14]]
    assert figures == ["25.0", "23.8", "512", "5.0", "2.5"]
    assert "blitznet300, two networks" in lines
    assert "ssd300_vgg16" in lines
    assert "Example CPU, 2 cores" in text
    assert "tensorrt: not installed" in text
    assert "random weights" in text


def test_the_best_runtime_of_each_network_and_one_beside_two_are_said_in_words() -> None:
    assert best_lines(make_record(make_rows())) == [
        "blitznet300: 40.0 pictures a second with openvino-bf16, batch 8, "
        f"8.0 times {REFERENCE} (torch-nchw), 4.0 times {REFERENCE} (torch)",
        "blitznet300: one network for both tasks is 1.50 times as fast as two (torch, batch 1)",
    ]


def test_on_a_gpu_the_share_of_its_peak_is_a_column() -> None:
    record = make_record([make_row("a", 10, share_of_peak=0.4321)])
    machine = record.machine.model_copy(
        update={"device": "Example GPU", "device_type": "cuda", "peak_tflops": 700.0}
    )
    text = rendered(record.model_copy(update={"machine": machine}))
    assert "Example GPU, 700 bf16 TFLOP/s measured (Example CPU, 2 cores)" in text
    assert "% of peak" in text
    assert " 43 " in text
