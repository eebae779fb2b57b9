"""Everything about a corpus that one wants to know before training on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from datetime import UTC, datetime
from typing import Any

from ubm_embed.data.corpus import Corpus
from ubm_embed.data.inspection.behaviour_findings import (
    order_findings,
    popularity_findings,
    session_findings,
    time_findings,
    traffic_findings,
)
from ubm_embed.data.inspection.finding import Finding, by_severity
from ubm_embed.data.inspection.losses import IngestLosses, loss_findings
from ubm_embed.data.inspection.numbered_corpus import NumberedCorpus
from ubm_embed.data.inspection.order import OrderStatistics
from ubm_embed.data.inspection.order_verdict import OrderVerdict
from ubm_embed.data.inspection.popularity import PopularityStatistics
from ubm_embed.data.inspection.sessions import SessionStatistics
from ubm_embed.data.inspection.task_findings import task_findings
from ubm_embed.data.inspection.tasks import TaskStatistics
from ubm_embed.data.inspection.text_findings import text_findings
from ubm_embed.data.inspection.texts import TextStatistics
from ubm_embed.data.inspection.times import TimeStatistics
from ubm_embed.data.inspection.traffic import TrafficStatistics
from ubm_embed.data.text.tokenizer import InteractionTokenizer
from ubm_embed.errors import InvalidData
from ubm_embed.progress import Progress, silent

_STEPS = 6


@dataclass(frozen=True, kw_only=True)
class CorpusReport:
    """What was found in a corpus.

    Attributes:
        sessions, products, texts, times, order, traffic, tasks: figures, each as its class says.
        verdict: on the order within sessions.
        dropped: what ingest left out; None without its report.
        findings: warnings in words, the worst first.
    """

    sessions: SessionStatistics
    products: PopularityStatistics
    texts: TextStatistics
    times: TimeStatistics
    order: OrderStatistics
    verdict: OrderVerdict
    traffic: TrafficStatistics
    tasks: TaskStatistics
    dropped: IngestLosses | None
    findings: tuple[Finding, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, under the names of the attributes."""
        document: dict[str, Any] = _plain(self)
        return document


def inspect_corpus(
    corpus: Corpus,
    *,
    tokenizer: InteractionTokenizer | None = None,
    losses: IngestLosses | None = None,
    now: datetime | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> CorpusReport:
    """Look at a corpus: figures, and warnings with what to do.

    Memory and time grow with the corpus, not with its square; the order is judged on a sample of 50,000 sessions.

    Args:
        tokenizer: of a model; texts are then measured in its tokens, else in words.
        losses: what ingest left out.
        now: what timestamps must not be later than; the present by default.
        seed: of the sample, the shuffles and the draw of examples. The same seed gives the same report.

    Raises:
        InvalidData: no products, or no interactions.
    """
    if corpus.products.is_empty() or corpus.interactions.is_empty():
        raise InvalidData("expected at least one product and one interaction to look at")
    progress("inspect", 0, _STEPS, "sessions")
    numbered = NumberedCorpus.from_corpus(corpus)
    sessions, products = SessionStatistics.measure(numbered), PopularityStatistics.measure(numbered)
    progress("inspect", 1, _STEPS, "texts")
    texts = TextStatistics.measure(corpus.products, corpus.interactions["query"], tokenizer)
    progress("inspect", 2, _STEPS, "times")
    times = TimeStatistics.measure(numbered, now=now or datetime.now(UTC))
    progress("inspect", 3, _STEPS, "order")
    order = OrderStatistics.measure(numbered, corpus.products["product_id"], seed=seed)
    verdict = OrderVerdict.from_statistics(order)
    progress("inspect", 4, _STEPS, "heavy sessions and users")
    traffic = TrafficStatistics.measure(numbered, corpus.interactions.get_column("user_id", default=None))
    progress("inspect", 5, _STEPS, "tasks")
    tasks = TaskStatistics.measure(numbered, seed=seed)
    findings = [
        *order_findings(verdict),
        *session_findings(sessions),
        *time_findings(times),
        *traffic_findings(traffic),
        *text_findings(texts, products.products),
        *popularity_findings(products),
        *task_findings(tasks),
        *(loss_findings(losses) if losses is not None else ()),
    ]
    progress("inspect", _STEPS, _STEPS)
    return CorpusReport(
        sessions=sessions,
        products=products,
        texts=texts,
        times=times,
        order=order,
        verdict=verdict,
        traffic=traffic,
        tasks=tasks,
        dropped=losses,
        findings=by_severity(findings),
    )


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value) if isinstance(value, str) else value
