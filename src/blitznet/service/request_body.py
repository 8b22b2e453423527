"""Read images and parameters from requests, within the service's limits."""

import asyncio
from collections.abc import AsyncGenerator, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO

from fastapi import HTTPException, Request
from pydantic import ValidationError
from starlette.formparsers import MultiPartException, MultiPartParser

from blitznet.errors import first_problem, shown
from blitznet.image import EncodedImage
from blitznet.image_file import read_image_header
from blitznet.service.prediction_queue import busy_error
from blitznet.service.replies import Options

_FORM = "multipart/form-data"
_MAX_FILES, _MAX_FIELDS = 16, 16
_LINGER_SECONDS = 2

# Headers of answers to requests that were not read to the end.
CLOSE = {"Connection": "close"}

# Name of an image without a file name.
BODY = "body"


@dataclass
class UploadMemory:
    """Bytes of all bodies together, limited so that slow uploads cannot exhaust the memory."""

    limit: int
    held: int = 0


@dataclass
class LimitedBody:
    """The body of a request, with its size limited while it is received.

    Use it as a context manager, which releases the memory at the end of the request.

    Attributes:
        request: the request.
        max_bytes: maximum size of the body.
        memory: memory of all bodies.
        size: number of bytes received so far.
        is_complete: whether the whole body has been received.
    """

    request: Request
    max_bytes: int
    memory: UploadMemory
    size: int = 0
    is_complete: bool = False

    def __enter__(self) -> "LimitedBody":
        return self

    def __exit__(self, *_: object) -> None:
        self.memory.held -= self.size

    async def stream(self) -> AsyncGenerator[bytes]:
        """Yield chunks.

        Raises:
            HTTPException: 413 as soon as the body is known to be too large, 503 without memory.
        """
        headers, chunks = self.request.headers, self.request.stream()
        stated = headers.get("content-length", "")
        if stated.isdecimal() and int(stated) > self.max_bytes:
            if "expect" not in headers:  # with Expect: 100-continue, the client has not sent it yet
                await _linger(chunks)
            raise self._too_large()
        async for chunk in chunks:
            if self.size + len(chunk) > self.max_bytes:
                await _linger(chunks)
                raise self._too_large()
            if self.memory.held + len(chunk) > self.memory.limit:
                raise busy_error()
            self.memory.held += len(chunk)
            self.size += len(chunk)
            yield chunk
        self.is_complete = True

    async def read(self) -> bytes:
        """Read the whole body."""
        return b"".join([chunk async for chunk in self.stream()])

    def _too_large(self) -> HTTPException:
        limit = f"{self.max_bytes / 1e6:g} MB"
        return HTTPException(413, f"the request has more than {limit}; send a smaller image", CLOSE)


async def _linger(chunks: AsyncGenerator[bytes]) -> None:
    """Keep receiving briefly: a client that is still sending would miss the answer."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_LINGER_SECONDS):
            async for _ in chunks:
                pass


async def read_upload(body: LimitedBody, score: float) -> tuple[list[EncodedImage], Options]:
    """Read the files and parameters of a form, or of a body that is an image.

    Raises:
        HTTPException: 413 if the body is too large, 422 for any other error.
    """
    fields = body.request.query_params.multi_items()
    if body.request.headers.get("content-type", "").startswith(_FORM):
        more_fields, files = await _read_form(body)
        fields += more_fields
    else:
        content = await body.read()
        files = [EncodedImage(content, BODY)] if content else []
    if not files:
        raise HTTPException(422, "the request has no image; send it as the body or as `file`")
    return files, _read_options(fields, score)


async def _read_form(body: LimitedBody) -> tuple[list[tuple[str, str]], list[EncodedImage]]:
    """Read a form's fields, as names and values, and its files."""
    parser = MultiPartParser(
        body.request.headers, body.stream(), max_files=_MAX_FILES, max_fields=_MAX_FIELDS
    )
    parser.spool_max_size = 1 << 62  # never write uploads to disk
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise HTTPException(422, f"the form cannot be read: {error.message}") from None
    fields, files = [], []
    try:
        for name, value in form.multi_items():
            if name == "file" and isinstance(value, str):
                raise HTTPException(
                    422, "`file` is text and not a file; with curl, write -F file=@PATH"
                )
            if isinstance(value, str):
                fields.append((name, value))
            elif name == "file":
                files.append(EncodedImage(await value.read(), value.filename or BODY))
            else:
                raise HTTPException(422, f"files are sent as `file`, not as {shown(name)}")
    finally:
        await form.close()
    return fields, files


def _read_options(fields: Iterable[tuple[str, str]], score: float) -> Options:
    values: dict[str, str] = {}
    for name, value in fields:
        if name not in Options.model_fields:
            known = ", ".join(Options.model_fields)
            raise HTTPException(422, f"there is no parameter {shown(name)}; parameters are {known}")
        if name == "classes" and name in values:  # how many clients send a list
            value = f"{values[name]},{value}"
        values[name] = value
    try:
        return Options.model_validate({"score": score, **values})
    except ValidationError as error:
        raise HTTPException(422, first_problem(error)) from None


def open_images(files: Iterable[EncodedImage], max_megapixels: float) -> Iterator[EncodedImage]:
    """Check all images with `open_image`, then yield them."""
    yield from [open_image(file, max_megapixels) for file in files]


def open_image(file: EncodedImage, max_megapixels: float) -> EncodedImage:
    """Check an image's header, and return the file unchanged.

    Raises:
        ImageError: if it is not an image, or its header is damaged.
        HTTPException: 413 if it has too many pixels.
    """
    width, height = read_image_header(BytesIO(file.content), file.name).size
    if width * height > max_megapixels * 1e6:
        raise HTTPException(
            413,
            f"{file.name}: {width}x{height} pixels, more than {max_megapixels:g} million; "
            "make it smaller first",
        )
    return file
