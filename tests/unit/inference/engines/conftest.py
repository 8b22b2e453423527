import pytest


@pytest.fixture(autouse=True)
def _no_usual_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BLITZNET_ENGINE", raising=False)
