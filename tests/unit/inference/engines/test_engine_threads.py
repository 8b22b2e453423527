from multiprocessing import get_context

import pytest

from blitznet.inference.engines.engine import EngineThreads


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_process_gets_an_error_instead_of_waiting_for_threads_that_it_lacks() -> None:
    context = get_context("fork")
    problems = context.SimpleQueue()

    def use() -> None:
        try:
            list(threads.map(abs, [-1]))
        except RuntimeError as error:
            problems.put(str(error))

    with EngineThreads(1) as threads:
        assert list(threads.map(abs, [-1, -2])) == [1, 2]
        child = context.Process(target=use)
        child.start()
        child.join(60)
    assert child.exitcode == 0
    assert problems.get() == (
        "the network was loaded before this process was forked; load it in every process"
    )
