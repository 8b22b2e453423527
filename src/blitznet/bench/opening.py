"""From the names that a user gives to contestants that are ready to be timed."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from PIL import Image

from blitznet.bench.contestant import Contestant, Entry
from blitznet.bench.ours import open_ours, write_single_tasks, write_untrained
from blitznet.bench.peers import PEERS, TORCH_BF16, build_peer, open_peer
from blitznet.classes import VOC_CLASSES
from blitznet.device import has_fast_bfloat16
from blitznet.errors import InputError
from blitznet.inference.engines.choose import open_engine
from blitznet.inference.engines.engine import Engine
from blitznet.inference.engines.exported import is_exported
from blitznet.inference.engines.openvino_runtime import Hint
from blitznet.model_files import bundled_checkpoints, read_info
from blitznet.model_info import MODELS


@dataclass(frozen=True)
class NetworkFile:
    """A network of ours to be timed.

    Attributes:
        name: for the table.
        path: checkpoint, or exported file.
        trained: whether its weights are.
    """

    name: str
    path: Path
    trained: bool


def find_networks(
    names: Sequence[str], folder: Path, images: Sequence[Image.Image], score: float
) -> list[NetworkFile]:
    """Files of the networks that a user names.

    Args:
        names: bundled networks, members of the family (with random weights if not bundled),
            checkpoints or exported files.
        folder: for the random ones.
        images: some pictures.
        score: least score of a box.

    Raises:
        InputError: for a name that is none of these.
    """
    bundled = bundled_checkpoints()
    found = []
    for name in names:
        path = Path(name)
        if name in bundled:
            found.append(NetworkFile(name, bundled[name], True))
        elif name in MODELS:
            checkpoint = write_untrained(name, folder, images, VOC_CLASSES, score)
            found.append(NetworkFile(name, checkpoint, False))
        elif path.is_file():
            trained = is_exported(path) or bool(read_info(path).training)
            found.append(NetworkFile(path.name, path, trained))
        else:
            raise InputError(
                f"no network or file is called {name!r}; there are {', '.join(MODELS)}"
            )
    return found


def list_entries(
    networks: Sequence[NetworkFile],
    runtimes: Sequence[str],
    batches: Sequence[int],
    peers: Sequence[str],
    peer_batches: Sequence[int],
    folder: Path,
    runtime_of_two: str,
) -> list[Entry]:
    """Everybody who takes part, in the order of the table.

    Args:
        networks: of ours.
        runtimes: that each of their checkpoints runs on; an exported file has its own.
        batches: pictures a call.
        peers: names of PEERS.
        peer_batches: pictures a call of theirs.
        folder: for checkpoints with one task.
        runtime_of_two: what two networks, one for each task, run on; at the first batch size.
    """
    entries = []
    for network in networks:
        on = ["auto"] if is_exported(network.path) else runtimes
        entries += [
            Entry(network.name, "ours", runtime, batch, (network.path,), network.trained)
            for batch in batches
            for runtime in on
        ]
    for network in networks:
        if is_exported(network.path):
            continue
        config = read_info(network.path).model
        if config.detect and config.segment:
            files = write_single_tasks(network.path, folder)
            entries.append(
                Entry(network.name, "two networks", runtime_of_two, batches[0], files, False)
            )
    entries += [
        Entry(name, "peer", runtime, batch)
        for name in peers
        for batch in peer_batches
        for runtime in PEERS[name].runtimes
    ]
    return entries


class Openings:
    """Opens entries, each network on each runtime once, whatever the batch.

    Args:
        images: some pictures to settle peers with.
        score: least score of a box.
        device: where all run.
        calibrate: data description with pictures for int8.
    """

    def __init__(
        self,
        images: Sequence[Image.Image],
        score: float,
        device: torch.device,
        calibrate: Path | None = None,
    ):
        self._images, self._score, self._device = images, score, device
        self._calibrate = calibrate
        self._runtimes: dict[tuple[Path, str, Hint], Engine] = {}
        self._peers: dict[str, torch.nn.Module] = {}
        self._opened_peers: dict[tuple[str, str], Contestant] = {}

    def open(self, entry: Entry) -> Contestant:
        """Ready to look at pictures.

        Raises:
            InputError: if its runtime cannot be had here.
        """
        if entry.kind != "peer":
            runtimes = [self._runtime(file, entry.runtime) for file in entry.files]
            open_for_stream = None
            if len(entry.files) == 1:
                open_for_stream = partial(self._runtime_for_stream, entry.files[0], entry.runtime)
            return open_ours(runtimes, self._score, entry.batch, open_for_stream)
        if entry.runtime == TORCH_BF16 and not has_fast_bfloat16(self._device):
            raise InputError("this processor would emulate bfloat16")
        key = (entry.network, entry.runtime)
        if key not in self._opened_peers:
            if entry.network not in self._peers:
                self._peers[entry.network] = build_peer(entry.network, self._images)
            self._opened_peers[key] = open_peer(
                entry.network,
                self._peers[entry.network],
                entry.runtime,
                self._device,
                self._images,
            )
        return self._opened_peers[key]

    def runtime_name(self, entry: Entry) -> str:
        """What an opened entry of ours really runs on, where it asked for `auto`."""
        if entry.kind == "peer":
            return entry.runtime
        return self._runtime(entry.files[0], entry.runtime).name

    def _runtime_for_stream(self, file: Path, name: str) -> Engine:
        """The others know nothing of the hint, and are taken as they are."""
        return self._runtime(file, name, "throughput" if name.startswith("openvino") else "latency")

    def _runtime(self, file: Path, name: str, hint: Hint = "latency") -> Engine:
        key = (file, name, hint)
        if key not in self._runtimes:
            self._runtimes[key] = open_engine(
                file, name, self._device, hint=hint, calibrate=self._calibrate
            )
        return self._runtimes[key]
