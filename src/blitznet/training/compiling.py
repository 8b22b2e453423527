"""`torch.compile` for training: faster steps for minutes of compiling at the first one."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from blitznet.errors import InputError
from blitznet.model.blitznet import BlitzNet


def compile_network(network: BlitzNet) -> None:
    """Compile in place, so that parameters, their names and checkpoints stay as they are.

    Happens at the first step.
    """
    network.compile(dynamic=False)


@contextmanager
def compiler_failures(device: torch.device) -> Iterator[None]:
    """One line instead of the compiler's traceback.

    Raises:
        InputError: if the compiler fails at this network on this device.
    """
    try:
        yield
    except RuntimeError as error:
        from torch._dynamo.exc import TorchDynamoException  # takes seconds to import

        if not isinstance(error, TorchDynamoException):
            raise
        inner: BaseException = getattr(error, "inner_exception", error)
        first_line = str(inner).strip().partition("\n")[0]
        cause = f"{type(inner).__name__}: {first_line}" if first_line else type(inner).__name__
        raise InputError(
            f"--compile: PyTorch {torch.__version__} cannot compile this training on "
            f"{device.type} ({cause}); go on without --compile"
        ) from error
