"""The routes of the service."""

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import FileResponse, JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import ClientDisconnect
from starlette.staticfiles import StaticFiles

from blitznet.errors import ImageError, ImageFormatError, InputError, cut
from blitznet.inference.predictor import Predictor
from blitznet.service.answering import Service
from blitznet.service.gate import CLIENT_GONE, Gate
from blitznet.service.label_studio import SetupReply, TaskReply, TaskRequest
from blitznet.service.replies import EXAMPLE, ErrorReply, Health, Models, Options, Prediction, Ready
from blitznet.service.settings import Settings

_PAGE = Path(__file__).parent / "page"
_CURL_BODY = "application/x-www-form-urlencoded"  # of `curl -d` and `curl --data-binary`
_PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorReply, "description": description}
    for status, description in {
        401: "The token is missing or wrong.",
        408: "The request did not arrive in time.",
        406: "`Accept` allows neither JSON nor PNG.",
        413: "Too many bytes or pixels.",
        415: "Not an image, or in a format that is not read.",
        422: "A damaged image, no image, or a wrong parameter.",
        503: "Busy, not ready, or late; try again after `Retry-After` seconds.",
    }.items()
}


def create_app(
    predictors: Predictor | Sequence[Predictor], settings: Settings | None = None
) -> FastAPI:
    """Create the service as an ASGI application.

    Args:
        predictors: one per worker; each is used by one thread at a time, and closed at shutdown.
        settings: limits and access; None = the defaults.

    Returns:
        The application; `app.state.service.is_ready` tells whether it accepts requests.
    """
    settings = settings or Settings()
    predictors = (predictors,) if isinstance(predictors, Predictor) else predictors
    service = Service(predictors, settings)
    app = FastAPI(
        title="BlitzNet", version=version("blitznet"), docs_url=None, redoc_url=None,
        description="Boxes for every object and a class for every pixel, from one network.",
        lifespan=service.lifespan,
    )  # fmt: skip
    app.state.service = service
    _add_page(app)
    _add_status(app, service)
    _add_prediction(app, service)
    _add_problems(app)
    app.add_middleware(Gate, token=settings.token, requests=service.metrics.requests)
    if settings.cors:
        app.add_middleware(
            CORSMiddleware, allow_origins=settings.cors, allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type"], expose_headers=["Retry-After"],
        )  # fmt: skip
    return app


def _add_page(app: FastAPI) -> None:
    app.mount("/page", StaticFiles(directory=_PAGE), name="page")

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(_PAGE / "index.html")

    @app.get("/docs", include_in_schema=False)
    async def docs() -> FileResponse:
        return FileResponse(_PAGE / "docs.html")


def _add_status(app: FastAPI, service: Service) -> None:
    @app.get("/health", tags=["Status"])
    async def health() -> Health:
        """Whether the process is alive."""
        return Health()

    @app.get("/ready", tags=["Status"], response_model=Ready, responses={503: {"model": Ready}})
    async def ready() -> Response:
        """Whether the service accepts requests: 200, or 503 while it starts up or shuts down."""
        reply = Ready(ready=service.is_ready)
        return JSONResponse(reply.model_dump(), 200 if service.is_ready else 503)

    @app.get("/models", tags=["Status"], responses={401: _PROBLEMS[401]})
    async def models() -> Models:
        """The served network and its classes."""
        return Models(models=[service.model])

    @app.get("/metrics", tags=["Status"], response_class=Response, responses={401: _PROBLEMS[401]})
    async def metrics() -> Response:
        """Prometheus: requests by status, times by stage, queue, workers, memory."""
        content = generate_latest(service.metrics.registry)
        return Response(content, media_type=CONTENT_TYPE_LATEST)


def _add_prediction(app: FastAPI, service: Service) -> None:
    content = {"application/json": {"example": EXAMPLE}, "image/png": {}}
    good: dict[int | str, dict[str, Any]] = {
        200: {"description": "The prediction.", "content": content}
    }

    @app.post(
        "/predict", tags=["Prediction"], response_model=Prediction | TaskReply,
        responses=good | _PROBLEMS, openapi_extra=_describe_input(),
    )  # fmt: skip
    async def predict(request: Request) -> Response:
        """Predict one image or several.

        The body is an image, or a form with one or more files named `file`. Parameters go in the
        query or the form. The answer is JSON, or with `Accept: image/png`, the drawn image or the
        segmentation map. Label Studio's tasks (a JSON body) are answered in its own format.
        """
        return await service.answer(request)

    @app.post("/setup", tags=["Label Studio"], responses={401: _PROBLEMS[401]})
    async def setup() -> SetupReply:
        """Called by Label Studio when the service is added to a project; the body is ignored."""
        return SetupReply(model_version=service.model.name)


def _add_problems(app: FastAPI) -> None:
    @app.exception_handler(InputError)
    async def wrong(request: Request, error: InputError) -> Response:
        status = 415 if isinstance(error, ImageFormatError) else 422
        hint = ""
        if isinstance(error, ImageError) and request.headers.get("content-type") == _CURL_BODY:
            hint = "; curl changes files that are sent with -d, use --data-binary"
        return JSONResponse({"detail": f"{error}{hint}"}, status)

    @app.exception_handler(404)
    async def nowhere(request: Request, _: HTTPException) -> Response:
        return JSONResponse({"detail": f"nothing is at {cut(request.url.path)}; see /docs"}, 404)

    @app.exception_handler(405)
    async def wrong_method(request: Request, error: HTTPException) -> Response:
        use = (error.headers or {}).get("Allow", "GET")
        detail = f"{request.method} is not allowed here; use {use}"
        return JSONResponse({"detail": detail}, 405, error.headers)

    @app.exception_handler(ClientDisconnect)
    async def gone(_: Request, __: ClientDisconnect) -> Response:
        return Response(status_code=CLIENT_GONE)


def _describe_input() -> dict[str, Any]:
    """OpenAPI's parameters and body of a prediction."""
    parameters = [
        {"name": name, "in": "query", "description": schema.pop("description"), "schema": schema}
        for name, schema in _fields().items()
    ]
    binary = {"type": "string", "format": "binary"}
    form = _fields() | {"file": {"type": "array", "items": binary}}
    content = {
        "multipart/form-data": {
            "schema": {"type": "object", "required": ["file"], "properties": form}
        },
        "image/*": {"schema": binary},
        "application/json": {"schema": TaskRequest.model_json_schema(ref_template="#")},
    }
    return {"parameters": parameters, "requestBody": {"required": True, "content": content}}


def _fields() -> dict[str, dict[str, Any]]:
    """JSON schemas of `Options`; a parameter that may be left out has no default."""
    fields = Options.model_json_schema()["properties"].items()
    return {
        name: {key: schema[key] for key in schema if schema[key] is not None}
        for name, schema in fields
    }
