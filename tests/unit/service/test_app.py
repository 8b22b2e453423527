"""Status, access, the queue, and the description of the interface."""

import asyncio
import base64
import json
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from time import monotonic, sleep
from typing import Any

import numpy as np
import pytest
import uvicorn
from fastapi.testclient import TestClient
from uvicorn.server import ServerState

from blitznet.errors import InputError
from blitznet.inference.engines.engine import EngineOutput
from blitznet.inference.predictor import Predictor
from blitznet.service import Settings, create_app, server
from blitznet.service.connection import BoundedConnection
from blitznet.service.prediction_queue import PredictionQueue
from blitznet.service.replies import Prediction
from tiny_network import colour_predictor

PREDICTED = "/predict"


class Gated(Predictor):
    """A predictor that waits while `go` is cleared."""

    def __init__(self) -> None:
        predictor = colour_predictor()
        super().__init__(predictor.engine)
        self.go, self.count = Event(), 0
        self.go.set()  # to warm up
        run = predictor.engine.run

        def wait(pixels: np.ndarray, *arguments: Any) -> EngineOutput:
            self.go.wait(20)
            self.count += 1
            return run(pixels, *arguments)

        self.engine.run = wait  # type: ignore[method-assign]


def wait_until(is_true: Callable[[], bool]) -> None:
    end = monotonic() + 20
    while not is_true():
        assert monotonic() < end
        sleep(0.002)


def test_status_routes(client: TestClient, png: bytes) -> None:
    assert client.get("/health").json() == {"status": "UP"}
    assert client.get("/ready").json() == {"ready": True}
    (model,) = client.get("/models").json()["models"]
    assert model["name"] == "colours"
    assert model["names"] == ["background", "red", "green", "blue"]
    client.post("/predict", content=png)
    client.post("/predict", content=b"no image")
    text = client.get("/metrics").text
    for line in (
        'blitznet_requests_total{path="/predict",status="200"} 1.0',
        'blitznet_requests_total{path="/predict",status="415"} 1.0',
        'blitznet_stage_seconds_count{stage="network"} 1.0',
        "blitznet_queue_length 0.0",
        "blitznet_workers_busy 0.0",
        "blitznet_workers 2.0",
    ):
        assert line in text
    assert "process_resident_memory_bytes" in text


def test_supervisors_may_ask_for_the_head_alone(client: TestClient) -> None:
    assert client.head("/health").status_code == 200
    assert client.head("/predict").status_code == 405


@pytest.mark.parametrize(
    ("method", "path", "status", "detail"),
    [
        ("GET", "/predict", 405, "GET is not allowed here; use POST"),
        ("POST", "/health", 405, "POST is not allowed here; use GET"),
        ("POST", "/page/page.js", 405, "POST is not allowed here; use GET, HEAD"),
        ("POST", "/v1/predict", 404, "nothing is at /v1/predict; see /docs"),
        ("GET", "/page/nowhere.js", 404, "nothing is at /page/nowhere.js; see /docs"),
    ],
)
def test_a_wrong_address_or_method_gets_one_line(
    client: TestClient, method: str, path: str, status: int, detail: str
) -> None:
    answer = client.request(method, path)
    assert (answer.status_code, answer.json()) == (status, {"detail": detail})


def test_a_service_that_ends_is_not_ready(client: TestClient, png: bytes) -> None:
    client.app.state.service.is_ready = False  # type: ignore[attr-defined]
    assert client.get("/ready").status_code == 503
    assert client.get("/health").status_code == 200
    answer = client.post("/predict", content=png)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


def test_a_full_queue_answers_503_at_once_and_serves_the_others(png: bytes) -> None:
    predictor = Gated()
    with (
        TestClient(create_app(predictor, Settings(queue=2))) as client,
        ThreadPoolExecutor(3) as pool,
    ):
        queue = client.app.state.service.queue  # type: ignore[attr-defined]
        predictor.go.clear()
        accepted = [pool.submit(client.post, "/predict", content=png) for _ in range(3)]
        wait_until(lambda: queue.waiting == 2)
        refused = client.post("/predict", content=png)
        assert refused.status_code == 503
        assert int(refused.headers["retry-after"]) >= 1
        assert refused.json()["detail"] == "the service is busy; try again later"
        text = client.get("/metrics").text
        assert "blitznet_queue_length 2.0" in text
        assert "blitznet_workers_busy 1.0" in text
        predictor.go.set()
        assert [one.result().status_code for one in accepted] == [200] * 3


def test_a_late_answer_is_503_and_its_worker_serves_the_next(png: bytes) -> None:
    predictor = Gated()
    with TestClient(create_app(predictor, Settings(timeout=0.05))) as client:
        predictor.go.clear()
        answer = client.post("/predict", content=png)
        assert answer.status_code == 503
        assert answer.json()["detail"] == "no answer within 0.05 seconds"
        predictor.go.set()
        queue = client.app.state.service.queue  # type: ignore[attr-defined]
        wait_until(lambda: queue.busy == 0)
        client.app.state.service.settings = Settings()  # type: ignore[attr-defined]
        assert client.post("/predict", content=png).status_code == 200


def test_images_of_a_late_request_are_not_all_predicted(png: bytes) -> None:
    predictor = Gated()
    with TestClient(create_app(predictor, Settings(timeout=0.05))) as client:
        predictor.go.clear()
        predictor.count = 0
        files = [("file", ("a.png", png))] * 3
        assert client.post("/predict", files=files).status_code == 503
        predictor.go.set()
        queue = client.app.state.service.queue  # type: ignore[attr-defined]
        wait_until(lambda: queue.busy == 0)
        assert predictor.count == 1


def scope(headers: dict[str, str] | None = None) -> dict[str, Any]:
    raw = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
    return {"type": "http", "method": "POST", "path": "/predict", "raw_path": b"/predict",
            "query_string": b"", "headers": raw, "client": ("test", 1)}  # fmt: skip


def test_who_has_gone_is_not_predicted(png: bytes) -> None:
    """One request is being processed, a second one waits, and its client disconnects."""
    predictor = Gated()
    app = create_app(predictor, Settings(queue=4))
    service = app.state.service
    sent: list[int] = []

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            sent.append(message["status"])

    async def request(goes: asyncio.Event) -> None:
        messages = iter([{"type": "http.request", "body": png, "more_body": False}])

        async def receive() -> dict[str, Any]:
            for message in messages:
                return message
            await goes.wait()
            return {"type": "http.disconnect"}

        await app(scope(), receive, send)

    async def run() -> None:
        async with service.lifespan(app):
            predictor.go.clear()
            predictor.count = 0
            stays, goes = asyncio.Event(), asyncio.Event()
            first = asyncio.create_task(request(stays))
            while service.queue.busy == 0:
                await asyncio.sleep(0.001)
            second = asyncio.create_task(request(goes))
            while service.queue.waiting == 0:
                await asyncio.sleep(0.001)
            goes.set()
            await second
            assert service.queue.waiting == 0
            predictor.go.set()
            await first

    asyncio.run(run())
    assert sent == [499, 200]
    assert predictor.count == 1


def test_a_client_that_goes_while_it_sends_is_dropped() -> None:
    app = create_app(colour_predictor(), Settings())

    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    sent = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message.get("status"))

    async def run() -> None:
        async with app.state.service.lifespan(app):
            await app(scope(), receive, send)

    asyncio.run(run())
    assert sent[0] == 499


def test_a_request_that_does_not_arrive_in_time_is_408_and_its_connection_closed() -> None:
    app = create_app(colour_predictor(), Settings(timeout=0.05))
    messages = iter([{"type": "http.request", "body": b"half", "more_body": True}])
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        for message in messages:
            return message
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async def run() -> None:
        async with app.state.service.lifespan(app):
            await app(scope(), receive, send)

    asyncio.run(run())
    assert sent[0]["status"] == 408
    assert (b"connection", b"close") in sent[0]["headers"]
    assert app.state.service.memory.held == 0


def test_slow_uploads_cannot_use_up_the_memory(
    open_service: Callable[..., TestClient], png: bytes
) -> None:
    client = open_service(queue=0, max_mb=1)
    memory = client.app.state.service.memory  # type: ignore[attr-defined]
    memory.held += 10**6  # what one slow client has sent
    assert client.post("/predict", content=png).status_code == 503
    memory.held -= 10**6
    assert client.post("/predict", content=png).status_code == 200


def test_a_failing_prediction_gives_its_worker_back() -> None:
    async def run() -> None:
        queue = PredictionQueue([colour_predictor()], limit=0)
        for _ in range(2):
            with pytest.raises(ZeroDivisionError):
                await queue.run(lambda _: 1 // 0)
        assert await queue.run(lambda predictor: predictor.names[1]) == "red"
        assert queue.busy == 0
        queue.close()

    asyncio.run(run())


def test_a_token_is_wanted_for_everything_but_page_and_supervision(
    open_service: Callable[..., TestClient], png: bytes
) -> None:
    client = open_service(token="s\u00e9same")
    for path in ("/", "/docs", "/page/page.css", "/health", "/ready"):
        assert client.get(path).status_code == 200, path
    basic = base64.b64encode("label-studio:s\u00e9same".encode()).decode()
    statuses = {
        "": 401, "Bearer": 401, "Bearer open": 401, "Basic !": 401, "Bearer s\u00e9same": 200,
        f"Basic {basic}": 200,
    }  # fmt: skip
    for value, status in statuses.items():
        headers = {"authorization": value.encode()} if value else {}
        answer = client.post("/predict", content=png, headers=headers)
        assert answer.status_code == status, value
        for path in ("/models", "/metrics", "/openapi.json"):
            assert client.get(path, headers=headers).status_code == status


def test_pages_of_other_origins_are_let_in_by_name_alone(
    open_service: Callable[..., TestClient], png: bytes
) -> None:
    origin = {"origin": "https://example.org"}
    header = "access-control-allow-origin"
    assert header not in open_service().post("/predict", content=png, headers=origin).headers
    client = open_service(cors=("https://example.org",), token="sesame")
    assert client.get("/models", headers=origin).headers[header] == "https://example.org"
    asked = origin | {"access-control-request-method": "POST"}
    assert client.options("/predict", headers=asked).status_code == 200
    other = client.get("/health", headers={"origin": "https://example.com"})
    assert header not in other.headers


def test_the_page_loads_nothing_from_elsewhere(client: TestClient) -> None:
    page = client.get("/")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    for path in ("/", "/docs", "/page/page.js", "/page/docs.js", "/page/page.css"):
        text = client.get(path).text.replace("http://www.w3.org/2000/svg", "")
        assert "//" not in text.replace("// ", "").replace("// -", ""), path
    assert client.get("/page/../settings.py").status_code == 404


def test_the_log_has_a_line_per_request_and_no_content(
    client: TestClient, png: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "blitznet.access"):
        client.post("/predict?score=0.25", files={"file": ("holiday.png", png)})
        client.get("/nowhere")
    lines = [json.loads(record.message) for record in caplog.records if record.name.startswith("b")]
    assert [(line["path"], line["status"]) for line in lines] == [
        ("/predict", 200), ("/nowhere", 404),
    ]  # fmt: skip
    assert set(lines[0]["stages"]) == {"read", "network", "post", "encode", "queue"}
    assert "holiday" not in caplog.text


def test_the_description_of_the_interface_is_complete(client: TestClient) -> None:
    api = client.get("/openapi.json").json()
    predict = api["paths"]["/predict"]["post"]
    parameters = {one["name"]: one["schema"] for one in predict["parameters"]}
    assert [*parameters] == [
        "score", "classes", "iou", "max_detections", "mask", "draw", "output",
    ]  # fmt: skip
    assert parameters["iou"] == {"title": "Iou", "type": "number", "minimum": 0, "maximum": 1}
    assert set(predict["requestBody"]["content"]) == {
        "multipart/form-data", "image/*", "application/json",
    }  # fmt: skip
    assert {"200", "401", "406", "408", "413", "415", "422", "503"} <= set(predict["responses"])
    example = predict["responses"]["200"]["content"]["application/json"]["example"]
    read = Prediction.model_validate(example)
    assert read.model_dump(mode="json", exclude_unset=True) == example
    for path, methods in api["paths"].items():
        for operation in methods.values():
            assert operation["description"], path


@pytest.mark.parametrize(("count", "workers"), [(1, "1 worker"), (2, "2 workers")])
def test_the_first_line_has_address_and_workers(
    count: int, workers: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place, name in ((server, "_log_to_stderr"), (server.sys, "setswitchinterval")):
        monkeypatch.setattr(place, name, lambda *_: None)
    monkeypatch.setattr(server, "_load_workers", lambda *_: [colour_predictor()] * count)
    monkeypatch.setattr(server._Server, "run", lambda *_, **__: None)
    lines: list[str] = []
    server.serve(port=0, on_message=lines.append)
    address, _, rest = lines[0].partition(" ")
    assert address.startswith("http://127.0.0.1:")
    assert rest == f"({workers} on torch; Ctrl-C to stop)"


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"score": 2}, "score must be from 0 to 1, got 2"),
        ({"queue": -1}, "queue must be at least 0, got -1"),
        ({"timeout": 0}, "timeout must be finite and above 0, got 0"),
        ({"token": " "}, "the token is empty"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, Any], problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        Settings(**settings)


class _Wire(asyncio.Transport):
    """Records what a connection does to its transport."""

    def __init__(self) -> None:
        super().__init__()
        self.unsent, self.is_aborted, self.is_closed = 0, False, False
        self.writes: list[bytes] = []

    @property
    def sent(self) -> bytes:
        return b"".join(self.writes)

    def write(self, data: Any) -> None:
        self.writes.append(data)

    def close(self) -> None:
        self.is_closed = True

    def abort(self) -> None:
        self.is_aborted = True

    def is_closing(self) -> bool:
        return self.is_closed

    def get_write_buffer_size(self) -> int:
        return self.unsent


@pytest.mark.parametrize(
    ("sent", "unsent", "is_aborted"),
    [
        (b"", 0, True),
        (b"GET /health HTTP/1.1\r\nx: ", 0, True),
        (b"POST /predict HTTP/1.1\r\ncontent-length: 2\r\n\r\na", 0, True),
        (b"GET /health HTTP/1.1\r\n\r\n", 0, False),  # idle, which uvicorn's own clock is for
        (b"GET /health HTTP/1.1\r\n\r\n", 1000, True),
    ],
)
def test_a_connection_that_is_not_done_in_time_is_aborted(
    sent: bytes, unsent: int, is_aborted: bool
) -> None:
    async def run() -> None:
        config = uvicorn.Config(create_app(colour_predictor()), log_config=None, lifespan="off")
        config.load()
        connection, wire = BoundedConnection(config, ServerState(), {}), _Wire()
        connection.connection_made(wire)
        connection.data_received(sent)
        await asyncio.gather(*connection.tasks)
        wire.unsent = unsent
        connection._abort_if_unfinished()
        assert wire.is_aborted == is_aborted
        connection.connection_lost(None)

    asyncio.run(run())


def test_headers_without_an_end_are_refused() -> None:
    async def run() -> None:
        config = uvicorn.Config(create_app(colour_predictor()), log_config=None, lifespan="off")
        config.load()
        connection, wire = BoundedConnection(config, ServerState(), {}), _Wire()
        connection.connection_made(wire)
        connection.data_received(b"GET /health HTTP/1.1\r\nx: ")
        while not wire.is_closed:
            connection.data_received(b"a" * 10_000)
        assert wire.sent.startswith(b"HTTP/1.1 400 Bad Request")
        connection.connection_lost(None)

    asyncio.run(run())
