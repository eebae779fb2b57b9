"""One reader of a store that is told what to do: the process that `benchmarks.retrieval.reader` measures.

python benchmarks/retrieval/reader_driver.py STORE SESSIONS

SESSIONS is a file with a list of session documents. A line of JSON on stdin is a task and its options, a line on stdout
is the result. It is run as a script, on whichever checkout of this project PYTHONPATH names, and uses only what every
one of them has, or asks whether it is there.
"""

from __future__ import annotations

import cProfile
import importlib
import importlib.util
import json
import os
import pstats
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

K = 10


class Reader:
    """A store's reader; the public methods are the tasks."""

    def __init__(self, store: str, documents: Sequence[str]) -> None:
        self.store = store
        self.documents = documents
        self.retriever: Any = None
        self._made: dict[str, Any] = {}

    def open(self) -> dict[str, Any]:
        """Open the store and answer a first session; seconds of each step."""
        started = time.perf_counter()
        self._import()
        imported = time.perf_counter()
        self.retriever = self._opened()
        opened = time.perf_counter()
        self.ask(self.documents[0])
        answered = time.perf_counter()
        version = self.retriever.version
        return {
            "import_s": imported - started,
            "open_s": opened - imported,
            "first_answer_s": answered - opened,
            "products": len(self.retriever.catalogue),
            "index": {"kind": str(version.kind), **version.parameters},
            "runtime": "torch" if "torch" in sys.modules else "onnx",
        }

    def warm(self, count: int) -> None:
        """Put the interactions of the first sessions into the cache.

        Each is asked without its last interaction, so that the session itself is new when it is timed, as the next
        event of a live session is.
        """
        for document in map(json.loads, self.documents[:count]):
            interactions = document["interactions"]
            for part in (interactions[:-1], interactions[-1:]):
                self.ask(json.dumps({**document, "interactions": part}))

    def answers(self, count: int) -> list[list[str]]:
        """Ids of the matches of the first sessions."""
        answers = (json.loads(self.ask(document)) for document in self.documents[:count])
        return [[match["product_id"] for match in answer["matches"]] for answer in answers]

    def queries(
        self, first: int, count: int, seconds: float = 60.0, rules: Mapping[str, Any] | None = None, anew: bool = False
    ) -> list[float]:
        """Seconds of single queries under rules, JSON to JSON, at most for so long.

        Args:
            anew: every query has rules of its own, equal to those of the others, as in a request.
        """
        # Those of all tasks are one object, as in a shop's own code, which makes them once.
        made = self._made.setdefault(json.dumps(rules), self._rules(rules))
        times: list[float] = []
        end = time.perf_counter() + seconds
        for document in self._part(first, count):
            made = self._rules(rules) if anew else made
            started = time.perf_counter()
            self.ask(document, made)
            times.append(time.perf_counter() - started)
            if time.perf_counter() > end:
                break
        return times

    def steps(self, first: int, count: int) -> dict[str, list[float]]:
        """Seconds of encoder and search alone, and of both, for sessions whose products are given in full."""
        times: dict[str, list[float]] = {"encode": [], "search": [], "both": []}
        for document in self._part(first, count):
            session = self._in_full(document)
            started = time.perf_counter()
            vectors = self.retriever.embedder.embed_sessions([session])
            encoded = time.perf_counter()
            self.retriever.index.search(vectors, K)
            searched = time.perf_counter()
            times["encode"].append(encoded - started)
            times["search"].append(searched - encoded)
            times["both"].append(searched - started)
        return times

    def cpu_in_calls(self, size: int, calls: int) -> float:
        """CPU seconds of a query, with `size` in a call."""
        batches = [self._part(number * size, size) for number in range(calls)]
        started = time.process_time()
        for batch in batches:
            sessions = [self._parse(json.loads(document)) for document in batch]
            for answer in self.retriever.recommend_many(sessions, K):
                json.dumps(answer.to_dict())
        return (time.process_time() - started) / (size * calls)

    def cpu_of_callers(self, callers: int, calls: int) -> float:
        """CPU seconds of a query, with so many callers at once, each with one session a call."""
        ready = threading.Barrier(callers + 1)

        def work(number: int) -> None:
            documents = self._part(number * calls, calls)
            ready.wait()
            for document in documents:
                self.ask(document)

        with ThreadPoolExecutor(callers) as executor:
            workers = [executor.submit(work, number) for number in range(callers)]
            ready.wait()
            started = time.process_time()
            for worker in workers:
                worker.result()
        return (time.process_time() - started) / (callers * calls)

    def function_calls(self, count: int) -> float:
        """Function calls of a query, of Python and of C, as `cProfile` counts them."""
        profile = cProfile.Profile()
        documents = self._part(0, count)
        profile.enable()
        for document in documents:
            self.ask(document)
        profile.disable()
        return int(pstats.Stats(profile).total_calls) / count  # type: ignore[attr-defined]

    def swap(self, numbers: Sequence[int], count: int) -> dict[str, list[float]]:
        """Seconds of queries before, while and after each of these versions takes over, the live one last.

        Code that cannot follow what is live opens a version anew, and answers nobody meanwhile.
        """
        times: dict[str, list[float]] = {"before": [], "while": [], "after": []}
        follows = importlib.util.find_spec("indexer.search.live_retriever") is not None
        if follows:
            self.close()
            live = importlib.import_module("indexer.search.live_retriever").LiveRetriever
            self.retriever = live(self.store, device="cpu", interval=None)
            self.warm(count)
        number_before = self.retriever.version.version
        for number in sorted(numbers, key=lambda number: number == number_before):
            times["before"] += self.queries(0, count)
            if follows:
                times["while"] += self._follow(number)
            else:
                self.retriever = self._opened()
            times["after"] += self.queries(0, count)
        return times

    def ask(self, document: str, rules: Any = None) -> str:
        """From the JSON of a session to the JSON of its answer."""
        return json.dumps(self.retriever.recommend(self._parse(json.loads(document)), K, rules).to_dict())

    def close(self) -> None:
        """Give the store back, where the code can."""
        if hasattr(self.retriever, "close"):
            self.retriever.close()

    def _follow(self, number: int) -> list[float]:
        """Make a version live; seconds of queries until it has taken over."""
        store = importlib.import_module("indexer.store.embedding_store").EmbeddingStore.open(self.store)
        importlib.import_module("indexer.versions.rollback").roll_back(store, number)
        times: list[float] = []
        with ThreadPoolExecutor(1) as executor:
            checked = executor.submit(self.retriever.check)
            while not checked.done():
                times += self.queries(len(times), 1)
        if not checked.result():
            raise RuntimeError(f"version {number} did not take over: {self.retriever.error}")
        return times

    def _import(self) -> None:
        self._retriever = importlib.import_module("indexer.search.retriever").Retriever
        self._session = importlib.import_module("ubm_embed.data.session")
        self._parse = self._session.parse_session
        self._rules_class = importlib.import_module("indexer.search.ranking").Rules

    def _opened(self) -> Any:
        return self._retriever.open(self.store, device="cpu")

    def _rules(self, rules: Mapping[str, Any] | None) -> Any:
        return self._rules_class(**rules) if rules else None

    def _part(self, first: int, count: int) -> list[str]:
        """Documents from the `first` on, from the start again where they end."""
        return [self.documents[number % len(self.documents)] for number in range(first, first + count)]

    def _in_full(self, document: str) -> Any:
        """A session with its products in full, as the encoder reads it."""
        session = self._parse(json.loads(document))
        catalogue = self.retriever.catalogue
        names = [one.product_id for one in session.interactions if one.product_id is not None]
        positions = catalogue.find(names)
        products = catalogue.products(positions.values())
        interactions = [
            one
            if one.product_id is None
            else replace(one, product_id=None, product=products[positions[one.product_id]])
            for one in session.interactions
            if one.product_id is None or one.product_id in positions
        ]
        return replace(session, interactions=tuple(interactions))


def main() -> None:
    """Do the tasks that stdin names until it ends."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever else prints must not come between the replies
    documents = [json.dumps(document) for document in json.loads(Path(sys.argv[2]).read_text("utf-8"))]
    reader = Reader(sys.argv[1], documents)
    for line in sys.stdin:
        task = json.loads(line)
        print(json.dumps(getattr(reader, task.pop("task"))(**task)), file=replies, flush=True)


if __name__ == "__main__":
    main()
