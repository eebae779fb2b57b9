"""Settings of the process are made by the functions for them, and by nothing else.

Each test has a process of its own, because settings cannot be taken back.
"""

import mmap
import subprocess
import sys

import pytest

FAULTS = """
import resource, torch
from ubm_embed.inference.process import keep_freed_memory

assert keep_freed_memory()
for turn in range(12):
    if turn == 2:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    blocks = [torch.ones(2_000_000) for _ in range(12)]
    del blocks
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
IMPORTS = """
import logging, os, sys
import torch, transformers, sklearn.metrics  # other libraries set what they like

def state():
    loggers = {name: logging.getLogger(name).level for name in ("onnxruntime", "nncf", "faiss")}
    telemetry = os.environ.get("NNCF_CI"), os.environ.get("ORT_DISABLE_TELEMETRY"), "openvino_telemetry" in sys.modules
    return loggers, telemetry, list(logging.root.filters), sys.stdout, len(os.listdir("/proc/self/fd"))

before = state()
import ubm_embed.inference.embedder, ubm_embed.inference.runtimes.selection, ubm_embed.inference.process
import ubm_embed.training.pretraining.pretrain, ubm_embed.training.finetuning.finetune
print(state() == before)
"""
QUIET = """
import logging, sys
from ubm_embed.inference.process import set_up_process

set_up_process()
set_up_process()  # twice is once
print(len(logging.root.filters), sys.modules["openvino_telemetry"])
logging.basicConfig(stream=sys.stdout, format="%(message)s")
logging.getLogger("nncf").warning("hidden")
logging.getLogger("nncf").error("an error")
logging.getLogger("shop").warning("of the shop")
advice = logging.LogRecord("root", logging.WARNING, "site-packages/onnxruntime/quantize.py", 1, "hidden", (), None)
logging.root.handle(advice)
logging.root.warning("of another library")
"""

NO_TELEMETRY = """
import os
from ubm_embed.inference.process import disable_telemetry

disable_telemetry()
before = len(os.listdir("/proc/self/task"))
import onnxruntime  # its telemetry has a thread of its own
print(len(os.listdir("/proc/self/task")) - before)
"""

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's malloc, and /proc")


def output(program: str) -> str:
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stderr == ""
    return run.stdout


@linux
def test_onnx_runtime_reports_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    assert output(NO_TELEMETRY) == "0\n"


@linux
def test_freed_memory_is_not_faulted_in_again() -> None:
    # Without the setting the number of faults depends on what else lies on the heap, so it is no reference.
    touched = 10 * 12 * 4 * 2_000_000 / mmap.PAGESIZE
    assert int(output(FAULTS)) < touched / 50


@linux
def test_importing_the_library_changes_nothing_in_the_process() -> None:
    assert output(IMPORTS) == "True\n"


def test_converters_are_quiet_and_everything_else_is_heard() -> None:
    first, *lines = output(QUIET).splitlines()
    assert first == "1 None"
    assert lines == ["an error", "of the shop", "of another library"]


@pytest.mark.parametrize("order", ["set_threads(1); import torch", "import torch; set_threads(1)"])
def test_torch_takes_the_number_of_threads_whenever_it_is_imported(order: str) -> None:
    program = f"from ubm_embed.inference.process import set_threads; {order}; print(torch.get_num_threads())"
    assert output(f"import os; os.environ.pop('OMP_NUM_THREADS', None); {program}") == "1\n"
