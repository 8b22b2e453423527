"""HTTP service and web page of `blitznet serve`. Needs the extra `serve`, but not PyTorch."""

from blitznet.extras import require

for _module in ("fastapi", "uvicorn", "python_multipart", "prometheus_client"):
    require(_module, "serve", "blitznet serve")

from blitznet.service.app import create_app as create_app  # noqa: E402
from blitznet.service.server import serve as serve  # noqa: E402
from blitznet.service.settings import Settings as Settings  # noqa: E402
