"""A `TrainRecord` for people."""

from rich.table import Table

from blitznet.bench.speed_table import device_text
from blitznet.bench.train_record import TrainRecord


def train_table(record: TrainRecord) -> Table:
    """One row a network; times are medians, quartiles in brackets."""
    clocks = "".join(f"{name}: {meaning}.\n" for name, meaning in record.clocks.items())
    table = Table(
        "network",
        title=f"Training on {device_text(record.machine)}",
        caption=f"{record.steps} steps each, {record.workers} workers; pictures: {record.data}.\n"
        f"{clocks}",
        caption_justify="left",
    )
    table.add_column("input")
    for name in ("batch", "precision", "ms a step", "/s fixed batch", "/s real input"):
        table.add_column(name, justify="right")
    for name in ("waiting", "s opened", "MiB"):
        table.add_column(name, justify="right")
    for row in record.rows:
        step = row.step_ms
        table.add_row(
            row.network,
            row.input,
            str(row.batch),
            row.precision,
            f"{step.median:.0f} ({step.quarter:.0f}, {step.three_quarters:.0f})",
            f"{row.pictures_per_second:.1f}",
            f"{row.real_pictures_per_second:.1f}",
            f"{100 * row.waiting:.1f} %",
            f"{row.opened_s:.1f}",
            "-" if row.peak_memory_mib is None else f"{row.peak_memory_mib:.0f}",
        )
    return table
