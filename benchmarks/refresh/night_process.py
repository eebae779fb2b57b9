"""One refresh in a process of its own, which prints its figures as JSON. It runs with this code and with earlier code.

python night_process.py STORE PRODUCTS

PYTHONPATH says which code: it uses nothing that version 0.1 did not have.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from benchmarks.memory import peak_megabytes
from indexer.refresh.refresh import refresh


def figures(store: str, products: str) -> dict[str, Any]:
    """Seconds and CPU seconds of a refresh and of its steps, its memory, and what it published."""
    imported = peak_megabytes()
    started, cpu = time.perf_counter(), time.process_time()
    report = refresh(store=store, products=products).to_dict()
    published = report["version"] is not None
    return {
        "seconds": round(time.perf_counter() - started, 3),
        "cpu_seconds": round(time.process_time() - cpu, 3),
        "steps": report["seconds"],
        "encoded": report["encoded"],
        "written": report["written"],
        "published": published,
        "recall": report["gates"].get("recall", {}).get("value"),
        "peak_mb": peak_megabytes(),
        "imported_mb": imported,
    }


if __name__ == "__main__":
    print(json.dumps(figures(*sys.argv[1:])))
