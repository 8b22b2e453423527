"""Predictor for frameworks that process batches of columns: Ray, Spark, Daft."""

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from blitznet.cluster.remote_files import is_content_elsewhere, local_path, read_content
from blitznet.cluster.rows import Columns, Row, as_text, error_row, row_of, to_columns
from blitznet.cpu import limit_cores
from blitznet.errors import ImageError, InputError
from blitznet.image import EncodedImage
from blitznet.inference.engines.choose import AUTO
from blitznet.inference.predictor import load
from blitznet.inference.prefetch import prefetch
from blitznet.inference.selection import DEFAULT_SCORE
from blitznet.model_files import find_network

# Threads that fetch images: network disks and object stores are slow, but serve many requests.
_FETCHERS = 8

BatchImage = str | np.ndarray | EncodedImage


class BatchPredictor:
    """A network that maps columns to columns; loaded once per process.

    Only its arguments are sent to other processes; each loads the network itself.

    Args:
        model: a bundled network's name or a file, which every machine must have; None = the best
            bundled network.
        score: minimum score of an object, 0..1.
        engine: see `blitznet.load`.
        device: see `blitznet.load`.
        batch: images per forward pass; None = 1 on a CPU, 8 on a GPU.
        cpus: cores that this process may use, overriding OMP_NUM_THREADS; None = all.
        save_masks: whether `seg_map` holds PNGs of class ids, or null.

    Attributes:
        predictor: the loaded network.
        model: name and first 12 digits of the file's SHA-256, such as `blitznet300-mobile@5e2b...`.

    Raises:
        InputError: see `blitznet.load`.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | None = None,
        *,
        score: float = DEFAULT_SCORE,
        engine: str | None = None,
        device: str = AUTO,
        batch: int | None = None,
        cpus: int | None = None,
        save_masks: bool = False,
    ) -> None:
        self._arguments = {
            "model": model, "score": score, "engine": engine, "device": device, "batch": batch,
            "cpus": cpus, "save_masks": save_masks,
        }  # fmt: skip
        if cpus is not None:
            limit_cores(cpus)
        self._score, self._batch, self._save_masks = score, batch, save_masks
        self.predictor = load(model, device, engine, hint="throughput")
        with find_network(model).path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        self.model = f"{self.predictor.info.model.name}@{digest[:12]}"

    def __getstate__(self) -> dict[str, Any]:
        return self._arguments

    def __setstate__(self, arguments: dict[str, Any]) -> None:
        self.__init__(**arguments)  # type: ignore[misc]

    def __call__(self, batch: Mapping[str, Sequence[Any]]) -> Columns:
        """Predict the images of one batch.

        Args:
            batch: columns of N values. One column has the images: `bytes` (encoded files), `image`
                (arrays, uint8 (H, W, 3) RGB or (H, W) grey), or else `uri` or `path` (paths, and
                URIs of s3, gs, http, ...). `id` is optional, and so is `uri` or `path` next to
                `bytes` or `image`; the default id is the URI.

        Returns:
            The columns of docs/batch.md, arrays of N values in the same order. An image that cannot
            be read has an `error`, and nulls in the other columns.

        Raises:
            InputError: if no column has images.
        """
        names = batch.get("uri", batch.get("path"))
        images = _images(batch, names)
        uris = [None] * len(images) if names is None else [as_text(str(one)) for one in names]
        ids = [as_text(str(one)) for one in batch["id"]] if "id" in batch else uris
        rows = self._predict(images)
        for row, id_, uri in zip(rows, ids, uris, strict=True):
            row |= {"id": id_, "uri": uri, "model": self.model}
        return to_columns(rows)

    def _predict(self, images: Sequence[BatchImage]) -> list[Row]:
        rows: dict[int, Row] = {}
        places: list[int] = []  # positions of the images passed to the network

        def fetched() -> Iterator[BatchImage]:
            for place, image in enumerate(prefetch(_fetch, images, _FETCHERS)):
                if isinstance(image, ImageError):
                    rows[place] = error_row(image)
                else:
                    places.append(place)
                    yield image

        results = self.predictor.predict_stream(fetched(), self._score, self._batch)
        for number, (_, scene) in enumerate(results):
            rows[places[number]] = (
                error_row(scene)
                if isinstance(scene, ImageError)
                else row_of(scene, self._save_masks)
            )
        return [rows[place] for place in range(len(images))]


def _images(batch: Mapping[str, Sequence[Any]], names: Sequence[Any] | None) -> list[BatchImage]:
    if "bytes" in batch:
        contents = list(batch["bytes"])
        given = [f"image {index}" for index in range(len(contents))] if names is None else names
        return [
            EncodedImage(content or b"", str(name))
            for content, name in zip(contents, given, strict=True)
        ]
    if "image" in batch:
        return [np.asarray(image) for image in batch["image"]]
    if names is None:
        raise InputError(
            f"a batch needs a column bytes, image, uri or path, got {', '.join(batch)}"
        )
    return [str(name) for name in names]


def _fetch(image: BatchImage) -> BatchImage | ImageError:
    """Fetch an image; called in threads."""
    if not isinstance(image, str):
        return image
    if not is_content_elsewhere(image):
        return local_path(image) or image
    try:
        return EncodedImage(read_content(image), image)
    except ImageError as error:
        return error
