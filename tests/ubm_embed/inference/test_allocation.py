"""In a process of its own, since what is asked for holds for the whole process."""

import mmap
import subprocess
import sys

import pytest

FAULTS = """
import resource, torch
from ubm_embed.inference.allocation import keep_freed_memory

assert keep_freed_memory()
for turn in range(12):
    if turn == 2:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    blocks = [torch.ones(2_000_000) for _ in range(12)]
    del blocks
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults():
    found = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True)
    return int(found.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's")
def test_memory_that_was_freed_is_not_faulted_in_again():
    # What happens unasked is no measure: it depends on what else lies on the heap.
    touched = 10 * 12 * 4 * 2_000_000 / mmap.PAGESIZE
    assert faults() < touched / 50
