"""Answer requests: check limits, queue, predict in a worker, encode."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from threading import Event
from time import perf_counter
from typing import TypeVar

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import Response
from PIL import Image
from pydantic import BaseModel
from starlette.requests import ClientDisconnect

from blitznet.classes import palette_image
from blitznet.errors import cut
from blitznet.image import EncodedImage
from blitznet.inference.predictor import Predictor
from blitznet.inference.selection import Selection
from blitznet.scene import Scene
from blitznet.service.label_studio import TaskReply, label_scene, read_tasks
from blitznet.service.prediction_queue import PredictionQueue, busy_error
from blitznet.service.prometheus_metrics import ServiceMetrics
from blitznet.service.replies import Prediction, ServedModel, describe, png
from blitznet.service.request_body import CLOSE, LimitedBody, UploadMemory, open_images, read_upload
from blitznet.service.settings import Settings

Part = TypeVar("Part")
Result = TypeVar("Result")


class Service:
    """State shared by the routes.

    Args:
        predictors: one per worker.
        settings: limits and access.

    Attributes:
        is_ready: whether the service has warmed up and is not shutting down.
    """

    def __init__(self, predictors: Sequence[Predictor], settings: Settings) -> None:
        self.settings = settings
        self.is_ready = False
        self.queue = PredictionQueue(predictors, settings.queue)
        self.metrics = ServiceMetrics(self.queue)
        self.memory = UploadMemory(settings.max_bytes * (settings.queue + len(predictors)))
        first = predictors[0]
        self.model = ServedModel(
            name=first.info.model.name,
            engine=first.engine.name,
            device=first.engine.device,
            image_size=first.info.model.image_size,
            detect=first.detects,
            segment=first.segments,
            names=first.names,
        )
        self._predictors = predictors

    @asynccontextmanager
    async def lifespan(self, _: FastAPI) -> AsyncGenerator[None]:
        """Warm up every predictor with a prediction; the first one takes longer.

        The image is an encoded file, because Pillow loads its formats when it opens the first file.
        """
        grey = EncodedImage(png(Image.new("RGB", (64, 64), "grey")), "grey")
        await asyncio.gather(*(asyncio.to_thread(one.predict, grey) for one in self._predictors))
        self.is_ready = True
        yield
        self.is_ready = False
        await asyncio.to_thread(self.queue.close)

    async def answer(self, request: Request) -> Response:
        """Answer a request with images or Label Studio's tasks, within the deadline.

        Raises:
            HTTPException: 503 immediately if the queue is full; other codes for invalid requests.
            InputError: if an image cannot be decoded.
            ClientDisconnect: if the client has disconnected.
        """
        if not self.is_ready:
            raise busy_error()
        self.queue.require_room()  # before reading the body
        is_json = request.headers.get("content-type", "").startswith("application/json")
        with LimitedBody(request, self.settings.max_bytes, self.memory) as body:
            try:
                async with asyncio.timeout(self.settings.timeout):
                    return await (self._tasks if is_json else self._images)(body)
            except TimeoutError:
                seconds = f"{self.settings.timeout:g} seconds"
                if not body.is_complete:
                    raise HTTPException(
                        408, f"the request took more than {seconds}", CLOSE
                    ) from None
                retry = {"Retry-After": "1"}
                raise HTTPException(503, f"no answer within {seconds}", retry) from None

    async def _images(self, body: LimitedBody) -> Response:
        request = body.request
        files, options = await read_upload(body, self.settings.score)
        images = open_images(files, self.settings.max_megapixels)
        if not _wants_png(request.headers.get("accept", "")):
            return await self._predict(
                request, images, options.selection(), partial(describe, options=options),
                lambda found: _json(Prediction(model=self.model.name, images=found)),
            )  # fmt: skip
        if len(files) > 1:
            raise HTTPException(422, "a PNG is for one image only; request JSON for several")
        if options.output == "map" and not self.model.segment:
            raise HTTPException(422, f"{self.model.name} does not segment; leave out output=map")
        draw = partial(_png, output=options.output)
        return await self._predict(
            request, images, options.selection(), draw, b"".join, "image/png"
        )

    async def _tasks(self, body: LimitedBody) -> Response:
        content, model = await body.read(), self.model.name
        images, controls = await asyncio.to_thread(read_tasks, content, self.settings)
        return await self._predict(
            body.request, images, Selection(self.settings.score),
            partial(label_scene, controls=controls, model=model),
            lambda results: _json(TaskReply(results=results, model_version=model)),
        )  # fmt: skip

    async def _predict(
        self,
        request: Request,
        images: Iterable[EncodedImage],
        selection: Selection,
        encode: Callable[[Scene], Part],
        join: Callable[[list[Part]], bytes],
        media_type: str = "application/json",
    ) -> Response:
        """Predict in a worker and record times; cancelled if the client disconnects first."""
        given_up = Event()

        def work(predictor: Predictor) -> tuple[bytes, list[dict[str, float]]]:
            parts, times = [], []
            for image in images:  # decoded one at a time
                if given_up.is_set():
                    break
                scene = predictor.predict(image, **vars(selection))
                start = perf_counter()
                parts.append(encode(scene))
                times.append(scene.milliseconds | {"encode": (perf_counter() - start) * 1000})
            return join(parts), times

        start = perf_counter()
        try:
            content, times = await _unless_gone(request, self.queue.run(work))
        finally:
            given_up.set()
        total = (perf_counter() - start) * 1000
        stages = {stage: round(sum(one[stage] for one in times), 2) for stage in times[0]}
        stages["queue"] = round(total - sum(stages.values()), 2)
        request.state.log = {"images": len(times), "stages": stages}
        for one in (*times, {"queue": stages["queue"], "all": total}):
            for stage, milliseconds in one.items():
                self.metrics.stages.labels(stage).observe(milliseconds / 1000)
        return Response(content, media_type=media_type)


def _wants_png(accept: str) -> bool:
    """Whether the header `Accept` asks for a PNG and not for JSON, which is preferred.

    Raises:
        HTTPException: 406 if it allows neither.
    """
    kinds = {kind.partition(";")[0].strip().lower() for kind in accept.split(",")}
    if "application/json" in kinds:
        return False
    if "image/png" in kinds:
        return True
    if kinds & {"", "*/*", "application/*"}:
        return False
    if "image/*" in kinds:
        return True
    raise HTTPException(
        406, f"the answer is application/json or image/png, and not {cut(accept)}; change `Accept`"
    )


def _json(reply: BaseModel) -> bytes:
    return reply.model_dump_json(exclude_unset=True).encode()


def _png(scene: Scene, output: str) -> bytes:
    if output == "drawn":
        return png(scene.draw(in_place=True))
    assert scene.seg_map is not None  # only called if the network segments
    return png(palette_image(scene.seg_map))


async def _unless_gone(request: Request, job: asyncio.Future[Result]) -> Result:
    """The result of a job, which is cancelled if the client disconnects first.

    Raises:
        ClientDisconnect: if the client has disconnected.
    """
    gone = asyncio.ensure_future(_until_gone(request))
    gone.add_done_callback(lambda _: job.cancel())
    try:
        return await job
    except asyncio.CancelledError:
        if gone.done():
            raise ClientDisconnect from None
        raise
    finally:
        gone.cancel()


async def _until_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
