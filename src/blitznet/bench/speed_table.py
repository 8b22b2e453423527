"""A `SpeedRecord` for people."""

from collections.abc import Sequence

from rich.table import Table

from blitznet.bench.record import Machine, SpeedRecord, SpeedRow, Spread

_COLUMNS = ("batch", "pre", "network", "post", "total ms", "/s", "/s files", "MiB")
_FINDS = {"boxes and map": "both", "boxes": "boxes", "map": "map"}


def speed_table(record: SpeedRecord) -> Table:
    """One row a contestant; times are medians in ms a picture, quartiles in brackets."""
    references = _reference_runtimes(record.rows)
    width, height = record.picture_size
    table = Table(
        "network",
        "finds",
        "runtime",
        title=f"Pictures of {width:.0f}x{height:.0f} pixels to boxes and maps on "
        f"{device_text(record.machine)}",
        caption=_caption(record, references),
        caption_justify="left",
    )
    for column in table.columns:
        column.no_wrap = True
    for name in (*_COLUMNS, *(f"x SSD300\n{runtime}" for runtime in references)):
        table.add_column(name, justify="right", no_wrap=True)
    has_peak = record.machine.peak_tflops is not None
    if has_peak:
        table.add_column("% of peak", justify="right")
    group = None
    for row in record.rows:
        if group is not None and (row.network, row.kind) != group:
            table.add_section()
        group = (row.network, row.kind)
        cells = [
            _name(row),
            _FINDS[row.tasks],
            row.runtime,
            str(row.batch),
            _ms(row.preprocess.median),
            _ms(row.network_ms.median),
            _ms(row.postprocess.median),
            _spread(row.total),
            _figure(row.fps),
            "-" if row.files_fps is None else _figure(row.files_fps),
            "-" if row.peak_memory_mib is None else f"{row.peak_memory_mib:.0f}",
            *(f"{row.times_as_fast[runtime]:.1f}" for runtime in references),
        ]
        if has_peak:
            share = row.share_of_peak
            cells.append("-" if share is None else f"{100 * share:.0f}")
        table.add_row(*cells)
    return table


def device_text(machine: Machine) -> str:
    """Where it ran, in words."""
    cores = f"{machine.cores} core{'s' if machine.cores != 1 else ''}"
    if machine.device_type == "cpu":
        return f"{machine.cpu}, {cores}"
    peak = f", {machine.peak_tflops:.0f} bf16 TFLOP/s measured" if machine.peak_tflops else ""
    return f"{machine.device}{peak} ({machine.cpu}, {cores})"


def best_lines(record: SpeedRecord) -> list[str]:
    """What each network of ours reaches at best, and one beside two."""
    lines = []
    references = _reference_runtimes(record.rows)
    for network in dict.fromkeys(row.network for row in record.rows if row.kind == "ours"):
        best = record.best(network)
        assert best is not None
        ratios = [
            f"{best.times_as_fast[runtime]:.1f} times {record.reference} ({runtime})"
            for runtime in references
        ]
        lines.append(
            f"{network}: {best.fps:.1f} pictures a second with {best.runtime}, batch {best.batch}"
            + "".join(f", {ratio}" for ratio in ratios)
        )
        for two in record.rows:
            if (two.network, two.kind) != (network, "two networks"):
                continue
            for one in record.rows:
                is_same = (one.network, one.runtime, one.batch) == (
                    two.network,
                    two.runtime,
                    two.batch,
                )
                if is_same and one.kind == "ours":
                    lines.append(
                        f"{network}: one network for both tasks is {one.fps / two.fps:.2f} times "
                        f"as fast as two ({one.runtime}, batch {one.batch})"
                    )
    return lines


def _reference_runtimes(rows: Sequence[SpeedRow]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row.times_as_fast))


def _caption(record: SpeedRecord, references: Sequence[str]) -> str:
    clocks = "".join(f"{name}: {meaning}.\n" for name, meaning in record.clocks.items())
    ratios = f"x SSD300: pictures a second in those of {record.reference}, batch 1.\n"
    left_out = "".join(f"Left out: {name}: {why}.\n" for name, why in record.left_out.items())
    untrained = any(row.kind == "ours" and not row.trained for row in record.rows)
    versions = ", ".join(f"{name} {version}" for name, version in record.machine.versions.items())
    return (
        f"{record.pictures} pictures ({record.data}); boxes from score {record.score:g} on, peers "
        f"with their own limits. All took turns in {record.rounds} rounds on "
        f"{record.machine.threads} threads. Times are ms a picture: median, and quartiles of the "
        f"total. Decoding takes {_spread(record.decode)}.\n{clocks}"
        + (ratios if references else "")
        + ("*: random weights. " if untrained else "")
        + "Peers have random weights, too; both leave as many boxes as trained ones.\n"
        + f"{left_out}{versions}."
    )


def _name(row: SpeedRow) -> str:
    name = row.network.removeprefix("torchvision ")
    if row.kind == "two networks":
        return f"{name}, two networks"
    return name if row.kind == "peer" or row.trained else f"{name}*"


def _spread(spread: Spread) -> str:
    return f"{_ms(spread.median)} ({_ms(spread.quarter)}, {_ms(spread.three_quarters)})"


def _ms(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:.0f}"


def _figure(value: float) -> str:
    return f"{value:.1f}" if value < 100 else f"{value:.0f}"
