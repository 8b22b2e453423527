"""The result folder: Parquet parts, written atomically."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import fs, parquet

from blitznet.cluster.remote_files import (
    FILE_ERRORS,
    file_errors,
    find_file_system,
    local_path,
    reason_of,
)
from blitznet.errors import InputError
from blitznet.files.atomic_write import atomic_write, unfinished_files
from blitznet.files.result_folder import locked

# Readers of Parquet folders skip files whose names start with an underscore or a dot.
SETTINGS_FILE = "_batch.json"

Settings = dict[str, Any]


class Parts:
    """A folder of parts, local or remote.

    Local files are renamed when complete; in object stores, objects appear when their upload is
    complete. A part's name depends on the ids in it, so writing it again replaces it.

    Raises:
        InputError: if there is no file system for the folder.
    """

    def __init__(self, out: str) -> None:
        self._out = out
        self._file_system, self._folder = find_file_system(out)
        self._is_local = local_path(out) is not None

    def require_usable(self, settings: Settings, mixed: bool) -> None:
        """Check whether a run may add rows here, without writing anything.

        Args:
            settings: settings that the rows depend on.
            mixed: whether they may differ from those of existing rows.

        Raises:
            InputError: if they differ without `mixed`, or there are other files, or reading fails.
        """
        earlier = self.settings()
        if earlier is None and any(not info.base_name.startswith(".") for info in self._files()):
            raise InputError(
                f"{self._out}: not empty, and not written by blitznet batch; name another folder"
            )
        if earlier is not None and earlier != settings and not mixed:
            name = next(key for key in settings if settings[key] != earlier.get(key))
            raise InputError(
                f"{self._out}: holds rows of {name} {earlier.get(name)}, not {settings[name]}; "
                "name another folder, or add --mixed to keep those rows"
            )

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Create the folder, and keep other runs on this machine out of it.

        Raises:
            InputError: if the folder cannot be written, or another run is writing there.
        """
        self._create()
        with locked(Path(self._folder)) if self._is_local else nullcontext():
            yield

    def prepare(self, settings: Settings) -> None:
        """Create the folder, and write the settings that its rows depend on.

        Raises:
            InputError: if the folder cannot be written.
        """
        self._create()
        self.clean()
        self._write(SETTINGS_FILE, json.dumps(settings, indent=2).encode())

    def _create(self) -> None:
        with file_errors(self._out, "written"):
            self._file_system.create_dir(self._folder, recursive=True)

    def clean(self) -> None:
        """Remove unfinished files of killed workers."""
        if self._is_local:
            for path in unfinished_files(Path(self._folder)):
                path.unlink(missing_ok=True)

    def settings(self) -> Settings | None:
        """Read the settings of existing rows; None if there are none."""
        try:
            with self._file_system.open_input_file(f"{self._folder}/{SETTINGS_FILE}") as file:
                return dict(json.loads(file.read()))
        except FileNotFoundError:
            return None
        except NotADirectoryError:
            raise InputError(f"{self._out} is a file; name a folder for the results") from None
        except (*FILE_ERRORS, ValueError, TypeError) as error:
            raise InputError(
                f"{self._out}/{SETTINGS_FILE}: cannot be read ({reason_of(error)})"
            ) from None

    def done_ids(self) -> Iterable[str]:
        """Yield the ids of all rows. Damaged parts, such as after a power failure, are removed.

        Raises:
            InputError: if a part cannot be read.
        """
        for info in self._files():
            if not (info.base_name.startswith("part-") and info.extension == "parquet"):
                continue
            with file_errors(info.path):
                try:
                    with self._file_system.open_input_file(info.path) as file:
                        ids = parquet.read_table(file, columns=["id"])["id"]
                except pa.ArrowInvalid:
                    self._file_system.delete_file(info.path)
                    continue
            yield from ids.to_pylist()

    def _files(self) -> list[fs.FileInfo]:
        with file_errors(self._out):
            selector = fs.FileSelector(self._folder, allow_not_found=True)
            found: list[fs.FileInfo] = self._file_system.get_file_info(selector)
        return found

    def write(self, index: int, table: pa.Table) -> str:
        """Write one part.

        Args:
            index: index of its shard in the input, so that parts sorted by name are in order.
            table: rows with SCHEMA.

        Returns:
            Name of the part.

        Raises:
            InputError: if it cannot be written.
        """
        content = BytesIO()
        parquet.write_table(table, content, compression="zstd")
        ids = "\0".join(table["id"].to_pylist()).encode()
        name = f"part-{index:08}-{hashlib.sha256(ids).hexdigest()[:16]}.parquet"
        self._write(name, content.getvalue())
        return name

    def _write(self, name: str, content: bytes) -> None:
        if self._is_local:
            with atomic_write(Path(self._folder) / name) as temporary:
                temporary.write_bytes(content)
            return
        with (
            file_errors(self._out, "written"),
            self._file_system.open_output_stream(f"{self._folder}/{name}") as stream,
        ):
            stream.write(content)


def id_digest(id_: str) -> bytes:
    """Digest of a row's id, to remember millions of them in about 100 bytes each."""
    return hashlib.blake2b(id_.encode(), digest_size=16).digest()
