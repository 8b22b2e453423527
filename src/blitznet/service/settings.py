"""Settings of the service."""

import math
from dataclasses import dataclass
from pathlib import Path

from blitznet.errors import InputError, require_numbers


@dataclass(frozen=True)
class Settings:
    """Limits and access of a service.

    Attributes:
        score: default minimum score of an object, 0..1.
        queue: maximum number of requests waiting for a worker; further ones get 503.
        timeout: maximum seconds from the arrival of a request to its answer.
        max_mb: maximum size of a request's body, millions of bytes.
        max_megapixels: maximum size of an image, millions of pixels.
        cors: origins whose pages may use the service, `*` for all.
        token: bearer token that requests need; None = no access control.
        allow_fetch: hosts (`name` or `name:port`) of images that Label Studio's tasks may refer to.
        uploads: folder of Label Studio's uploads, which its tasks refer to as `/data/...`.

    Raises:
        InputError: if a value is invalid.
    """

    score: float = 0.5
    queue: int = 16
    timeout: float = 30.0
    max_mb: float = 32.0
    max_megapixels: float = 64.0
    cors: tuple[str, ...] = ()
    token: str | None = None
    allow_fetch: tuple[str, ...] = ()
    uploads: Path | None = None

    def __post_init__(self) -> None:
        require_numbers(0, 1, score=self.score)
        require_numbers(0, queue=self.queue)
        for name in ("timeout", "max_mb", "max_megapixels"):
            if not 0 < getattr(self, name) < math.inf:
                raise InputError(f"{name} must be finite and above 0, got {getattr(self, name)}")
        if self.token is not None and not self.token.strip():
            raise InputError("the token is empty; leave it out, or set one")
        if self.uploads is not None and not self.uploads.is_dir():
            raise InputError(f"{self.uploads}: no such folder; give Label Studio's upload folder")

    @property
    def max_bytes(self) -> int:
        """`max_mb` in bytes."""
        return int(self.max_mb * 1e6)
