import pytest
import torch

from blitznet.device import choose_device
from blitznet.errors import InputError


def test_the_automatic_device_is_the_cpu_where_there_is_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto") == torch.device("cpu")
    assert choose_device("cpu") == torch.device("cpu")
    for absent in ("cuda", "cuda:1"):
        with pytest.raises(InputError, match=f"no device {absent}: .*use cpu or auto"):
            choose_device(absent)


def test_the_automatic_device_is_the_first_gpu_and_numbers_are_checked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device("auto") == torch.device("cuda", 0)
    assert choose_device("cuda:1") == torch.device("cuda", 1)
    with pytest.raises(InputError, match="no device cuda:2: PyTorch finds 2 CUDA devices"):
        choose_device("cuda:2")


@pytest.mark.parametrize("name", ["gpu", "mps", "cuda:", "0", "", "xpu"])
def test_other_names_are_no_devices(name: str) -> None:
    with pytest.raises(InputError, match="a device is auto, cpu, cuda"):
        choose_device(name)
