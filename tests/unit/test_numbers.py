"""Numbers that make no sense are refused by the calls of Python, as the options refuse them."""

import math
from collections.abc import Callable

import pytest

import blitznet
from blitznet.bench import bench
from blitznet.data.loader import prepare_ahead
from blitznet.detection.limits import Limits
from blitznet.errors import InputError


@pytest.mark.parametrize(
    ("call", "problem"),
    [
        (
            lambda: blitznet.train("d", epochs=math.inf),
            "epochs must .* and finite, got inf",
        ),
        (
            lambda: blitznet.train("d", max_minutes=math.nan),
            "max_minutes must be .* got nan",
        ),
        (lambda: blitznet.train("d", devices=0), "devices must be at least 1, got 0"),
        (lambda: blitznet.train("d", early_stopping=0), "early_stopping must be at least 1"),
        (lambda: blitznet.train("d", validate_every=-1), "validate_every must be at least 0"),
        (lambda: blitznet.evaluate("m", "d", batch_size=0), "batch_size must be at least 1"),
        (lambda: next(prepare_ahead([], [], list, -1)), "workers must be from 0 to 256"),
        (lambda: next(prepare_ahead([], [], list, 10**6)), "workers must be .* got 1000000"),
        (lambda: blitznet.load(threads=-1), "threads must be at least 1, got -1"),
        (lambda: bench(seconds=math.inf), "seconds must be at least 0 and finite, got inf"),
        (lambda: bench(rounds=0), "rounds must be at least 1, got 0"),
        (lambda: bench(score=math.nan), "score must be from 0 to 1 and finite, got nan"),
        (lambda: blitznet.export("m", limits=Limits(iou=-1)), "iou must be from 0 to 1"),
        (lambda: blitznet.export("m", limits=Limits(top=10**9)), "top must be from 1 to 10000"),
    ],
)
def test_a_number_out_of_range_is_one_line(call: Callable[[], object], problem: str) -> None:
    with pytest.raises(InputError, match=problem) as raised:
        call()
    assert "\n" not in str(raised.value)
