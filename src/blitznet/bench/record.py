"""What `blitznet bench --json FILE` writes: every figure with what it was measured on and how."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from blitznet.errors import InputError, first_problem
from blitznet.whole_file import whole_file

FORMAT_VERSION = 1

Tasks = Literal["boxes and map", "boxes", "map"]
Kind = Literal["ours", "two networks", "peer"]


class Frozen(BaseModel):
    """A value that does not change and has no other fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Machine(Frozen):
    """Where a benchmark ran.

    Attributes:
        device: what the networks ran on, by its maker's name: that of the GPU, or of the CPU.
        device_type: as PyTorch calls it: cpu, cuda or mps.
        cpu: the processor's name.
        cores: that this process may use.
        threads: of PyTorch.
        memory_gib: of the machine, or None where it cannot be asked for.
        system: operating system and architecture.
        peak_tflops: bf16 matrix products measured here, in 10^12 operations a second, two for every
            multiplication with its sum; None without a GPU.
        versions: of Python and the packages that count.
    """

    device: str
    device_type: str
    cpu: str
    cores: int
    threads: int
    memory_gib: float | None
    system: str
    peak_tflops: float | None = None
    versions: dict[str, str] = Field(default_factory=dict)


class Spread(Frozen):
    """Milliseconds a picture, over the groups of pictures that were timed.

    Attributes:
        median: half of the groups took less.
        least: of all groups.
        quarter: a quarter took less.
        three_quarters: a quarter took more.
    """

    median: float
    least: float
    quarter: float
    three_quarters: float


class SpeedRow(Frozen):
    """One network on one runtime with one batch size.

    Attributes:
        network: its name, `blitznet300` or `torchvision ssd300_vgg16`.
        kind: ours; two of ours, one for each task; or somebody else's.
        tasks: what it finds.
        runtime: what ran it, as `blitznet predict --runtime` calls it.
        batch: pictures a call.
        input_size: side of the network's input in pixels; of the shorter side where it keeps the
            picture's aspect.
        anchors: boxes that are scored (table 7: proposals), or None where there are none.
        parameters: of the network, or of both.
        trained: whether its weights are; else they are random, made to leave as much work behind
            the network as trained ones.
        boxes_found: boxes a picture in the end, mean; None where there are none.
        preprocess: from the decoded picture to the network's input.
        network_ms: of the network itself.
        postprocess: from its raw output to boxes in pixels of the picture and the map at its size.
        total: from the decoded picture to boxes and map.
        fps: pictures a second of `total`'s median: the headline.
        files_fps: pictures a second from JPEG files to the same, overlapped as `blitznet predict`
            does it, or None where that was not measured.
        peak_memory_mib: of a process that does only this, libraries included; on a GPU, of its
            memory.
        gflops: 10^9 operations a picture in convolutions and matrix products, two for every
            multiplication with its sum; None where the network is not a PyTorch module.
        share_of_peak: of `Machine.peak_tflops` that `network_ms` reaches, 0..1; None without a GPU.
        times_as_fast: fps in those of `SpeedRecord.reference` at batch 1, by its runtime.
        pictures: that were timed.
    """

    network: str
    kind: Kind
    tasks: Tasks
    runtime: str
    batch: int
    input_size: int
    anchors: int | None
    parameters: int
    trained: bool
    boxes_found: float | None
    preprocess: Spread
    network_ms: Spread
    postprocess: Spread
    total: Spread
    fps: float
    files_fps: float | None
    peak_memory_mib: float | None
    gflops: float | None = None
    share_of_peak: float | None = None
    times_as_fast: dict[str, float] = Field(default_factory=dict)
    pictures: int


class SpeedRecord(Frozen):
    """Everything that one run of `blitznet bench` measured.

    Attributes:
        bench: what was measured.
        format_version: of this file.
        machine: where.
        data: which pictures.
        pictures: how many, shown over and over again.
        picture_size: mean width and height of them, pixels.
        score: least score of a box; peers keep their own defaults.
        rounds: in which all took turns.
        seconds: that each took for each of its clocks over all rounds, at least.
        clocks: what is inside each of them.
        decode: from the JPEG file to its pixels, the same for all.
        reference: the network that `times_as_fast` is relative to.
        left_out: what could have taken part and did not, with the reason.
        rows: the figures.
    """

    bench: Literal["speed"] = "speed"
    format_version: int = FORMAT_VERSION
    machine: Machine
    data: str
    pictures: int
    picture_size: tuple[float, float]
    score: float
    rounds: int
    seconds: float
    clocks: dict[str, str]
    decode: Spread
    reference: str
    left_out: dict[str, str] = Field(default_factory=dict)
    rows: tuple[SpeedRow, ...]

    def best(self, network: str, batch: int | None = None) -> SpeedRow | None:
        """The fastest row of a network, at one batch size or at any; None if there is none."""
        rows = [
            row
            for row in self.rows
            if row.network == network and row.kind != "two networks" and batch in (None, row.batch)
        ]
        return max(rows, key=lambda row: row.fps, default=None)


def write_record(path: Path, record: Frozen) -> None:
    """As one line of JSON; a whole file or none.

    Raises:
        InputError: if it cannot be written.
    """
    with whole_file(path) as temporary:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(record.model_dump_json() + "\n", encoding="utf-8")


def read_record(path: Path) -> SpeedRecord:
    """What `write_record` wrote.

    Raises:
        InputError: if the file is missing, or no record of this format.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path} cannot be read ({error}); write it with blitznet bench --json {path}"
        ) from None
    try:
        return SpeedRecord.model_validate_json(text)
    except ValidationError as error:
        raise InputError(
            f"{path} is no record of blitznet bench: {first_problem(error)}; write it again with "
            f"blitznet bench --json {path}"
        ) from None
