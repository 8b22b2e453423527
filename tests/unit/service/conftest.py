"""A service in this process, with a network whose results are known."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from io import BytesIO

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from blitznet.service import Settings, create_app
from tiny_network import colour_predictor


@pytest.fixture
def open_service() -> Iterator[Callable[..., TestClient]]:
    """A client of a service with the given settings; `workers` predictors."""
    with ExitStack() as stack:

        def get(workers: int = 1, **settings: object) -> TestClient:
            predictors = [colour_predictor() for _ in range(workers)]
            app = create_app(predictors, Settings(**settings))  # type: ignore[arg-type]
            return stack.enter_context(TestClient(app))

        yield get


@pytest.fixture
def client(open_service: Callable[..., TestClient]) -> TestClient:
    return open_service(workers=2)


@pytest.fixture
def image() -> Image.Image:
    """An image of red, green and blue stripes, 96 x 48."""
    pixels = np.zeros((48, 96, 3), np.uint8)
    for channel in range(3):
        pixels[:, 32 * channel : 32 * (channel + 1), channel] = 255
    return Image.fromarray(pixels)


@pytest.fixture
def png(image: Image.Image) -> bytes:
    return png_bytes(image)


def png_bytes(image: Image.Image) -> bytes:
    content = BytesIO()
    image.save(content, format="PNG")
    return content.getvalue()
