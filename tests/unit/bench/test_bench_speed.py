"""`blitznet bench` from the command line to its table and its record, with tiny networks."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from blitznet.bench import opening, speed
from blitznet.bench.contestant import Entry
from blitznet.bench.opening import NetworkFile, Openings, find_networks, list_entries
from blitznet.bench.peers import PEERS, REFERENCE, Peer
from blitznet.bench.record import read_record
from blitznet.bench.speed import SpeedOptions
from blitznet.cli import main
from blitznet.errors import InputError
from blitznet.inference.engines.choose import open_engine
from blitznet.inference.engines.engine import Engine
from blitznet.model.blitznet import BlitzNet
from blitznet.model.checkpoint import save_checkpoint
from blitznet.model_files import CheckpointInfo
from tiny_peers import tiny_ssd

NAMES = ("background", "red", "green")
FAST = ["--pictures", "2", "--seconds", "0.001", "--rounds", "2", "--device", "cpu"]


@pytest.fixture
def checkpoint(tiny_network: BlitzNet, tmp_path: Path) -> Path:
    path = tmp_path / "tiny.safetensors"
    info = CheckpointInfo(model=tiny_network.config, names=NAMES, training={"data": "none"})
    save_checkpoint(path, tiny_network, info)
    return path


def test_the_record_holds_every_network_runtime_batch_and_peer(
    checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(opening, "has_fast_bfloat16", lambda _: True)
    monkeypatch.setitem(PEERS, "tiny peer", Peer(tiny_ssd, "boxes", 64))
    file = tmp_path / "bench.json"
    options = ["--networks", str(checkpoint), "--runtimes", "torch", "--batches", "1,2"]
    options += ["--peers", "tiny peer", "--no-memory", "--json", str(file)]
    assert main(["bench", *FAST, *options]) == 0
    output = capsys.readouterr().out
    assert output.splitlines()[-1] == file.read_text().strip()
    record = read_record(file)
    assert [(row.network, row.kind, row.runtime, row.batch) for row in record.rows] == [
        ("tiny.safetensors", "ours", "torch", 1),
        ("tiny.safetensors", "ours", "torch", 2),
        ("tiny.safetensors", "two networks", "torch", 1),
        ("tiny peer", "peer", "torch", 1),
        ("tiny peer", "peer", "torch-bf16", 1),
    ]
    assert [row.tasks for row in record.rows] == ["boxes and map"] * 3 + ["boxes"] * 2
    ours, in_twos, two, theirs, _ = record.rows
    assert ours.anchors == two.anchors == 510
    assert theirs.anchors == 1024
    assert ours.trained
    assert ours.files_fps is not None
    assert theirs.files_fps is None
    for row in record.rows:
        assert row.fps == pytest.approx(1000 / row.total.median)
        assert row.total.least <= row.total.quarter <= row.total.median <= row.total.three_quarters
        assert row.peak_memory_mib is None
    assert in_twos.pictures % 2 == 0
    assert two.gflops is not None
    assert ours.gflops is not None
    assert two.gflops > ours.gflops  # two backbones
    assert (record.pictures, record.rounds, record.picture_size) == (2, 2, (500, 375))
    assert record.decode.median > 0


@pytest.mark.slow
def test_memory_is_that_of_a_process_of_its_own(checkpoint: Path, tmp_path: Path) -> None:
    file = tmp_path / "bench.json"
    options = ["--networks", str(checkpoint), "--runtimes", "torch", "--batches", "1"]
    assert main(["bench", *FAST, *options, "--peers", "none", "--json", str(file)]) == 0
    for row in read_record(file).rows:
        assert row.peak_memory_mib is not None
        assert 100 < row.peak_memory_mib < 4000


@pytest.mark.slow
def test_quick_measures_the_bundled_network_beside_two_peers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "has_fast_bfloat16", lambda _: True)
    file = tmp_path / "bench.json"
    options = ["--quick", "--runtimes", "torch", "--seconds", "0.1", "--pictures", "2"]
    assert main(["bench", *options, "--device", "cpu", "--json", str(file)]) == 0
    record = read_record(file)
    assert {row.network for row in record.rows} == {"blitznet300-mobile", *speed.QUICK.peers}
    assert set(record.rows[0].times_as_fast) == {"torch-nchw", "torch", "torch-bf16"}


def test_only_the_clock_of_files_has_the_throughput_hint_and_opens_for_it_when_it_starts(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hints: list[tuple[str, str]] = []

    def open_it(file: Path, name: str, device: torch.device, hint: str, calibrate: None) -> Engine:
        assert calibrate is None
        hints.append((name, hint))
        return open_engine(file, "torch", device)

    monkeypatch.setattr(opening, "open_engine", open_it)
    openings = Openings([], 0.01, torch.device("cpu"))
    opened = [
        openings.open(Entry("tiny", "ours", runtime, 1, (checkpoint,)))
        for runtime in ("openvino-bf16", "torch")
    ]
    assert hints == [("openvino-bf16", "latency"), ("torch", "latency")]
    for contestant in opened:
        assert contestant.stream is not None
        assert list(contestant.stream([])) == []
    assert hints == [
        ("openvino-bf16", "latency"), ("torch", "latency"), ("openvino-bf16", "throughput"),
    ]  # fmt: skip


def test_a_peer_is_not_timed_where_bfloat16_would_be_emulated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(opening, "has_fast_bfloat16", lambda _: False)
    monkeypatch.setitem(PEERS, "tiny peer", Peer(tiny_ssd, "boxes", 64))
    openings = Openings([Image.new("RGB", (64, 64))], 0.01, torch.device("cpu"))
    assert openings.open(Entry("tiny peer", "peer", "torch", 1)).anchors == 1024
    with pytest.raises(InputError, match="this processor would emulate bfloat16"):
        openings.open(Entry("tiny peer", "peer", "torch-bf16", 1))


def test_entries_are_ours_then_two_networks_then_peers(checkpoint: Path, tmp_path: Path) -> None:
    networks = [
        NetworkFile("tiny", checkpoint, True),
        NetworkFile("tiny.onnx", tmp_path / "tiny.onnx", True),
    ]
    entries = list_entries(networks, ["a", "b"], [1, 4], [REFERENCE], [1], tmp_path, "b")
    ours = [(e.network, e.runtime, e.batch) for e in entries if e.kind == "ours"]
    assert ours == [
        ("tiny", "a", 1), ("tiny", "b", 1), ("tiny", "a", 4), ("tiny", "b", 4),
        ("tiny.onnx", "auto", 1), ("tiny.onnx", "auto", 4),
    ]  # fmt: skip
    (two,) = (e for e in entries if e.kind == "two networks")
    assert (two.network, two.runtime, two.batch, len(two.files)) == ("tiny", "b", 1, 2)
    assert entries[-3:] == [
        Entry(REFERENCE, "peer", runtime, 1) for runtime in PEERS[REFERENCE].runtimes
    ]


def test_what_takes_minutes_is_left_out_unless_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    here = ["torch", "torch-compile", "openvino", "openvino-int8"]
    monkeypatch.setattr(speed, "runtimes_here", lambda _: list(here))
    chosen, left_out = speed._choose_runtimes(None, torch.device("cpu"))
    assert chosen == ["torch", "openvino"]
    assert left_out["torch-compile"].startswith("compiles for minutes")
    assert left_out["onnxruntime"] == "not installed, or not for this device"
    assert speed._choose_runtimes(("torch-compile",), torch.device("cpu")) == (
        ["torch-compile"],
        {},
    )


@pytest.mark.parametrize(
    ("options", "code", "complaint"),
    [
        (["--networks", "yolo"], 1, "no network or file is called 'yolo'; there are blitznet300,"),
        (["--runtimes", "yolo"], 1, "no runtime is called 'yolo'; there are "),
        (["--peers", "yolo"], 1, "no peer's name contains 'yolo'; there are "),
        (["--data", "missing.yaml"], 1, "missing.yaml does not exist"),
        (["--batches", "1,x"], 2, "--batches takes numbers from 1 on with commas, not '1,x'"),
    ],
)
def test_wrong_input_is_one_line(
    options: list[str], code: int, complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", *FAST, *options]) == code
    error = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert complaint in error


def test_a_family_name_becomes_a_checkpoint_with_random_weights(
    tiny_network: BlitzNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("blitznet.bench.ours.build", lambda *_, **__: tiny_network)
    monkeypatch.setattr("blitznet.bench.opening.VOC_CLASSES", NAMES)
    images = [Image.effect_noise((50, 40), 80).convert("RGB") for _ in range(2)]
    (found,) = find_networks(["blitznet512"], tmp_path, images, 0.01)
    assert (found.name, found.trained, found.path.parent) == ("blitznet512", False, tmp_path)
    with pytest.raises(InputError, match="no network or file is called 'x'"):
        find_networks(["x"], tmp_path, images, 0.01)


def test_if_nothing_can_be_opened_the_reason_is_one_line(
    monkeypatch: pytest.MonkeyPatch, checkpoint: Path
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise InputError("it is not installed")

    monkeypatch.setattr("blitznet.bench.opening.open_engine", refuse)
    options = SpeedOptions(
        networks=(str(checkpoint),), runtimes=("torch",), peers=(), pictures=1, device="cpu"
    )
    with pytest.raises(InputError, match="nothing can be measured here: it is not installed"):
        speed.bench_speed(options)
