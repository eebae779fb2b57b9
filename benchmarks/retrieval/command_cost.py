"""Runs a command and prints what it cost, as JSON: seconds on the clock and of CPU, and its peak memory.

python benchmarks/retrieval/command_cost.py COMMAND [ARGUMENT ...]

A process of its own, since a command's peak memory is at least that of the process that starts it. It imports no more
than it needs, so that its own peak is 10 MB.
"""

import json
import os
import sys
import time


def main() -> None:
    """Run the command with its output thrown away; fails if the command does."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    started = time.perf_counter()
    actions = [(os.POSIX_SPAWN_DUP2, nothing, 1)]
    child = os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ, file_actions=actions)
    _, status, usage = os.wait4(child, 0)
    seconds = time.perf_counter() - started
    if status:
        sys.exit(f"failed: {sys.argv[1:]}")
    cost = {"seconds": seconds, "cpu_seconds": usage.ru_utime + usage.ru_stime, "peak_mb": usage.ru_maxrss / 1024}
    print(json.dumps({name: round(value, 3) for name, value in cost.items()}))


if __name__ == "__main__":
    main()
