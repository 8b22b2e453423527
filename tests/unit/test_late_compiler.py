import subprocess
import sys

import pytest
import torch

from blitznet.late_compiler import _disable, compiler_when_called

COMPILER = ("torch._dynamo", "sympy", "triton")


def run(program: str) -> list[str]:
    """What a fresh process prints, line by line."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.slow
def test_a_network_predicts_without_the_compiler_which_comes_when_it_is_called() -> None:
    lines = run(
        "import sys, numpy, torch, blitznet\n"
        "net = blitznet.load('blitznet300-mobile', 'cpu')\n"
        "net.predict(numpy.zeros((64, 64, 3), numpy.uint8))\n"
        f"print(*[name for name in {COMPILER} if name in sys.modules])\n"
        "import torchvision\n"
        "boxes = [torch.tensor([[0.0, 0.0, 4.0, 4.0]])]\n"
        "print(*torchvision.ops.roi_align(torch.ones(1, 1, 8, 8), boxes, 2).shape)\n"
        "print(torch.compile(lambda x: x + 1, backend='eager')(torch.ones(())).item())\n"
        "import torch._dynamo.utils as utils\n"
        "print(utils.__file__ is not None)\n"
    )
    assert lines == ["", "1 1 2 2", "2.0", "True"]


@pytest.mark.slow
def test_whatever_asks_for_more_of_the_compiler_gets_it() -> None:
    lines = run(
        "import sys\n"
        "from blitznet.late_compiler import compiler_when_called\n"
        "with compiler_when_called():\n"
        "    from torch._dynamo.utils import counters\n"
        "    from torch import _dynamo\n"
        "print(type(counters).__name__, sys.modules['torch._dynamo.utils'] is _dynamo.utils)\n"
        "print(_dynamo.utils.counters is counters)\n"
    )
    assert lines == ["defaultdict True", "True"]


def test_torch_is_left_as_it_was() -> None:
    before, utils = torch.compiler.disable, sys.modules.get("torch._dynamo.utils")
    with compiler_when_called():
        pass
    assert torch.compiler.disable is before
    assert sys.modules.get("torch._dynamo.utils") is utils


def test_a_function_that_is_not_to_be_compiled_finds_that_out_when_it_is_called() -> None:
    calls: list[str] = []

    def disable(fn, reason=""):  # type: ignore[no-untyped-def]
        calls.append(reason)
        return lambda value: -fn(value)

    def double(value: int) -> int:
        """Twice."""
        return 2 * value

    late = _disable(disable, double, reason="why")
    assert (late.__name__, late.__doc__, calls) == ("double", "Twice.", [])
    assert (late(3), calls) == (-6, ["why"])
