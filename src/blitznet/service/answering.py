"""From a request to its answer: limits, the queue, a worker, bytes."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from time import perf_counter
from typing import TypeVar

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import Response
from PIL import Image
from starlette.requests import ClientDisconnect

from blitznet.classes import palette_image
from blitznet.image import ImageSource
from blitznet.inference.predictor import Predictor
from blitznet.scene import Scene
from blitznet.service.label_studio import predict_tasks, read_tasks
from blitznet.service.prediction_queue import BusyError, PredictionQueue
from blitznet.service.prometheus_metrics import ServiceMetrics
from blitznet.service.replies import Options, Prediction, ServedModel, describe, png
from blitznet.service.request_body import CLOSE, LimitedBody, UploadMemory, read_upload
from blitznet.service.settings import Settings

Result = TypeVar("Result")
Milliseconds = dict[str, float]


class Service:
    """What the routes share.

    Args:
        predictors: one per worker.
        settings: limits and access.

    Attributes:
        is_ready: whether a first prediction was made and the service is not about to end.
    """

    def __init__(self, predictors: Sequence[Predictor], settings: Settings) -> None:
        self.settings = settings
        self.is_ready = False
        self.queue = PredictionQueue(predictors, settings.queue)
        self.metrics = ServiceMetrics(self.queue)
        self.memory = UploadMemory(settings.max_bytes * (settings.queue + len(predictors)))
        self.model = _served_model(predictors[0])
        self._predictors = predictors

    @asynccontextmanager
    async def lifespan(self, _: FastAPI) -> AsyncGenerator[None]:
        """Ready after a prediction with every predictor, of which the first takes longer."""
        grey = Image.new("RGB", (64, 64), "grey")
        await asyncio.gather(*(asyncio.to_thread(one.predict, grey) for one in self._predictors))
        self.is_ready = True
        yield
        self.is_ready = False
        await asyncio.to_thread(self.queue.close)

    async def answer(self, request: Request) -> Response:
        """Images or Label Studio's tasks, before the deadline.

        Raises:
            BusyError: at once, if there is no room.
            HTTPException: for what is wrong with the request.
            InputError: for images that cannot be decoded.
            ClientDisconnect: if the client has gone.
        """
        if not self.is_ready:
            raise BusyError(retry_after=1)
        self.queue.require_room()  # before anything is read
        is_json = request.headers.get("content-type", "").startswith("application/json")
        with LimitedBody(request, self.settings.max_bytes, self.memory) as body:
            try:
                async with asyncio.timeout(self.settings.timeout):
                    return await (self._tasks if is_json else self._images)(request, body)
            except TimeoutError:
                seconds = f"{self.settings.timeout:g} seconds"
                if not body.is_complete:
                    raise HTTPException(
                        408, f"the request took more than {seconds}", CLOSE
                    ) from None
                retry = {"Retry-After": "1"}
                raise HTTPException(503, f"no answer within {seconds}", retry) from None

    async def _images(self, request: Request, body: LimitedBody) -> Response:
        upload = await read_upload(request, body, self.settings)
        accept = request.headers.get("accept", "")
        wants_png = "image/png" in accept and "json" not in accept
        if wants_png and len(upload.images) > 1:
            raise HTTPException(422, "one image is answered as PNG, not several; ask for JSON")
        encode = partial(_as_png if wants_png else _as_json, upload.options, self.model.name)
        work = partial(_predict, upload.images, upload.options.score, encode)
        content = await self._run(request, work)
        return Response(content, media_type="image/png" if wants_png else "application/json")

    async def _tasks(self, request: Request, body: LimitedBody) -> Response:
        tasks = await asyncio.to_thread(read_tasks, await body.read(), self.settings)
        encode = partial(predict_tasks, tasks, self.model.name)
        work = partial(_predict, [task.image for task in tasks], self.settings.score, encode)
        return Response(await self._run(request, work), media_type="application/json")

    async def _run(
        self, request: Request, work: Callable[[Predictor], tuple[Result, list[Milliseconds]]]
    ) -> Result:
        """`work` in a worker, unless its client goes before its turn; times are recorded."""
        start = perf_counter()
        job = asyncio.ensure_future(self.queue.run(work))
        gone = asyncio.ensure_future(_until_gone(request))
        try:
            await asyncio.wait((job, gone), return_when=asyncio.FIRST_COMPLETED)
            if not job.done():
                raise ClientDisconnect
            result, times = job.result()
        finally:
            job.cancel()
            gone.cancel()
        total = (perf_counter() - start) * 1000
        stages = {stage: round(sum(one[stage] for one in times), 2) for stage in times[0]}
        stages["queue"] = round(total - sum(stages.values()), 2)
        for one in (*times, {"queue": stages["queue"], "all": total}):
            self.metrics.observe(one)
        request.state.log = {"images": len(times), "stages": stages}
        return result


def _predict(
    images: Sequence[ImageSource],
    score: float,
    encode: Callable[[list[Scene]], bytes],
    predictor: Predictor,
) -> tuple[bytes, list[Milliseconds]]:
    """The body of an answer, and the milliseconds of each image; called in a worker."""
    scenes = [predictor.predict(image, score) for image in images]
    start = perf_counter()
    content = encode(scenes)
    encode_ms = (perf_counter() - start) * 1000 / len(scenes)
    return content, [scene.milliseconds | {"encode": encode_ms} for scene in scenes]


def _as_json(options: Options, model: str, scenes: list[Scene]) -> bytes:
    images = [describe(scene, options) for scene in scenes]
    reply = Prediction(model=model, images=images)
    return reply.model_dump_json(exclude_unset=True).encode()


def _as_png(options: Options, model: str, scenes: list[Scene]) -> bytes:
    (scene,) = scenes
    if options.output == "drawn":
        return png(scene.draw())
    if scene.seg_map is None:
        raise HTTPException(422, f"{model} does not segment; leave output=map out")
    return png(palette_image(scene.seg_map))


async def _until_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _served_model(predictor: Predictor) -> ServedModel:
    model = predictor.info.model
    return ServedModel(
        name=model.name,
        engine=predictor.engine.name,
        device=predictor.engine.device,
        image_size=model.image_size,
        detect=model.detect,
        segment=model.segment,
        names=predictor.names,
    )
