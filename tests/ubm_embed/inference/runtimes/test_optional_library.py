"""What is kept quiet while a model is converted, and that it is as before afterwards, with several threads too."""

from __future__ import annotations

import logging
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from typing import Any

import pytest

from ubm_embed.inference.runtimes.optional_library import unheard
from ubm_embed.inference.runtimes.runtime_name import RuntimeName
from ubm_embed.inference.runtimes.selection import make_runtime
from ubm_embed.model.user_behavior_model import UserBehaviorModel


def state() -> tuple[Any, ...]:
    levels = [logging.getLogger(name).level for name in ("torch", "onnxscript", "nncf")]
    return sys.stdout, logging.root.manager.disable, levels, list(logging.root.filters), list(warnings.filters)


def test_two_threads_leave_all_as_it_was() -> None:
    before, inside = state(), threading.Event()

    def first() -> None:
        with unheard():
            inside.set()
            other.join(0.2)  # time in which it would come in, if it could

    def second() -> None:
        inside.wait()
        with unheard():
            order.append("second")

    order: list[str] = []
    other = threading.Thread(target=second)
    one = threading.Thread(target=first)
    other.start()
    one.start()
    one.join()
    other.join()
    assert order == ["second"]
    assert state() == before


def test_one_thread_at_a_time_is_unheard() -> None:
    inside, most = [0], [0]

    def once(_: int) -> None:
        with unheard(), unheard():
            inside[0] += 1
            most[0] = max(most[0], inside[0])
            threading.Event().wait(0.01)
            inside[0] -= 1

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(once, range(8)))
    assert most == [1]


def test_others_are_heard_meanwhile(capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    def other() -> None:
        sys.stdout.write("a line of data\n")
        logging.getLogger().warning("of another thread")
        logging.getLogger("shop").warning("of the shop")

    with unheard():
        logging.getLogger().warning("of the library")
        logging.getLogger("torch.onnx").warning("of the library")
        logging.getLogger().error("an error")
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert capsys.readouterr().out == "a line of data\n"
    assert caplog.messages == ["an error", "of another thread", "of the shop"]


@pytest.mark.skipif(
    any(find_spec(module) is None for module in ("openvino", "nncf", "onnxruntime", "onnxscript")),
    reason="not all engines are installed",
)
def test_engines_are_made_in_two_threads(model: UserBehaviorModel) -> None:
    names = [RuntimeName.ONNX_INT8, RuntimeName.OPENVINO_INT8]
    before = sys.stdout, logging.root.manager.disable, list(logging.root.filters)
    with ThreadPoolExecutor(2) as threads:
        made = list(threads.map(lambda name: make_runtime(name, model), names))
    assert [engine.name for engine in made] == names
    assert (sys.stdout, logging.root.manager.disable, logging.root.filters) == before
