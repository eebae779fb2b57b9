"""A report as sections of rows, for a terminal and for a page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ubm_embed.data.batches.session_table import MAX_INTERACTIONS
from ubm_embed.data.inspection import order as sampling
from ubm_embed.data.inspection.corpus_report import CorpusReport
from ubm_embed.data.inspection.losses import IngestLosses
from ubm_embed.data.inspection.order import Comparison, OrderStatistics
from ubm_embed.data.inspection.popularity import PopularityStatistics
from ubm_embed.data.inspection.sessions import SessionStatistics
from ubm_embed.data.inspection.tasks import TaskStatistics
from ubm_embed.data.inspection.texts import TextStatistics
from ubm_embed.data.inspection.times import TimeStatistics
from ubm_embed.data.inspection.traffic import TrafficStatistics, Visitor
from ubm_embed.wording import counted, percent, visible


@dataclass(frozen=True)
class Row:
    """One figure.

    Attributes:
        label: what it is.
        value: the figure as text.
        share: of the whole, between 0 and 1; None if it is not a share.
    """

    label: str
    value: str
    share: float | None = None


@dataclass(frozen=True)
class Section:
    """Figures that belong together.

    Attributes:
        name: the key of the report, such as "sessions".
        title: for people.
        rows: the figures.
        note: how they were measured; empty where that is plain.
    """

    name: str
    title: str
    rows: tuple[Row, ...]
    note: str = ""


def sections_of(report: CorpusReport) -> tuple[Section, ...]:
    """All sections of a report, in reading order."""
    sessions, products = report.sessions, report.products
    sections = [
        Section("sessions", "Sessions", tuple(_sessions(sessions))),
        Section("products", "Products", tuple(_products(products))),
        Section("texts", "Texts", tuple(_texts(report.texts, products.products)), _texts_note(report.texts)),
        Section("times", "Times (UTC)", tuple(_times(report.times))),
        Section("order", "Order within sessions", tuple(_order(report.order)), _order_note(report)),
        Section("traffic", "Heaviest sessions and users", tuple(_traffic(report.traffic))),
        Section("tasks", "Examples of each task", tuple(_tasks(report.tasks)), _tasks_note(report.tasks)),
    ]
    if report.dropped is not None:
        sections.append(Section("dropped", "Events that ingest dropped", tuple(_dropped(report.dropped))))
    return tuple(sections)


def _share(label: str, share: float) -> Row:
    return Row(label, percent(share), share)


def _counts(prefix: str, counts: Mapping[str, int], total: int) -> Iterator[Row]:
    for name, count in counts.items():
        yield Row(f"{prefix}{name}", f"{count:,}", count / total if total else None)


def _sessions(sessions: SessionStatistics) -> Iterator[Row]:
    yield Row("sessions", f"{sessions.sessions:,}")
    yield Row("with two different products or more", f"{sessions.several_products:,}")
    yield Row("interactions", f"{sessions.interactions:,}")
    yield from _counts("action: ", sessions.actions, sessions.interactions)
    yield from _counts("length: ", sessions.lengths, sessions.sessions)
    middle, high = sessions.quantiles["50"], sessions.quantiles["99"]
    yield Row("length: median, 99th percentile, longest", f"{middle:,}, {high:,}, {sessions.quantiles['100']:,}")
    yield _share(f"sessions longer than the {MAX_INTERACTIONS} that the model reads", sessions.longer_than_read_share)
    yield _share("next product is the last one again", sessions.repeats_last_share)
    yield _share("next product is an earlier one", sessions.repeats_earlier_share)
    yield _share("interactions that repeat the one before", sessions.same_again_share)


def _products(products: PopularityStatistics) -> Iterator[Row]:
    yield Row("products", f"{products.products:,}")
    yield from _counts("seen: ", products.seen, products.products)
    yield _share("interactions with the top 1% of the products", products.top_share)


def _texts(texts: TextStatistics, products: int) -> Iterator[Row]:
    yield _share("no title", texts.empty_title_share)
    yield _share("title is the product id", texts.id_title_share)
    yield _share("title without a letter", texts.number_title_share)
    yield _share("title ends in an ellipsis", texts.ellipsis_share)
    if texts.title_cap is not None:
        cap = texts.title_cap
        yield Row(f"titles of exactly {cap.length} characters, where they seem to be cut", f"{cap.titles:,}")
    yield _share("title longer than is read", texts.long_title_share)
    yield _share("text longer than is read", texts.long_text_share)
    yield _share("text the same as another product's", texts.same_text_share)
    yield _share("title the same as another product's", texts.same_title_share)
    yield _share("title with HTML", texts.markup_share)
    yield _share("title decoded wrongly", texts.broken_share)
    yield _share("title in capitals", texts.capitals_share)
    yield from _counts("script: ", texts.scripts, products)
    named = {visible(title): count for title, count in texts.frequent_titles.items()}
    yield from _counts("frequent title: ", named, products)
    yield Row("distinct search phrases", f"{texts.phrases:,}")


def _texts_note(texts: TextStatistics) -> str:
    if texts.counted_in == "words":
        return (
            "Lengths are counted in words; tokens are at least as many (--model counts tokens). Scripts, not languages."
        )
    return "Lengths are counted in the tokens of the model. Scripts, not languages."


def _times(times: TimeStatistics) -> Iterator[Row]:
    yield _share("interactions without a timestamp", times.missing_share)
    if times.precision is None:
        return
    yield Row("first, last", f"{times.first or 'out of range'}, {times.last or 'out of range'}")
    yield Row("days, of them empty, longest gap", f"{times.days:,}, {times.empty_days:,}, {times.longest_gap_days:,}")
    yield Row("precision", times.precision)
    yield _share("in the future", times.future_share)
    yield _share("before 1990", times.early_share)
    yield _share("sessions whose times run backwards", times.backwards_share)
    yield _share("sessions with one time for all", times.same_time_share)
    yield _share("sessions longer than a day", times.long_sessions_share)
    yield Row("median length of a session", f"{times.median_minutes:,.1f} minutes")
    if times.precision != "days" and times.quietest_hour is not None:
        total, quiet = sum(times.hours), times.quietest_hour
        yield Row("quietest six hours", f"{quiet:02}:00 to {(quiet + 6) % 24:02}:00")
        yield from (Row(f"hour {hour:02}", f"{count:,}", count / total) for hour, count in enumerate(times.hours))


def _order(order: OrderStatistics) -> Iterator[Row]:
    questions = {
        "next product is among the ten that most often come next": order.hit,
        "id is among the ten nearest": order.near,
        "id is larger": order.up,
    }
    for label, answer in questions.items():
        if answer is not None:
            yield from _comparison(label, answer)
    if order.later_share is not None and order.same_time_share is not None:
        yield _share("later than the product before", order.later_share)
        yield _share("at the same time", order.same_time_share)


def _comparison(label: str, answer: Comparison) -> Iterator[Row]:
    yield _share(label, answer.share)
    yield _share(f"{label}, shuffled", answer.shuffled)
    yield Row("… difference, 95% interval", f"{100 * answer.low:+.1f} to {100 * answer.high:+.1f} points")


def _order_note(report: CorpusReport) -> str:
    order, verdict = report.order, report.verdict
    sample = f"{counted(order.steps, 'step')} between different products of {counted(order.sessions, 'session')}"
    left_out = (
        f", a sample: at most {sampling.MAX_SESSIONS:,} sessions, the first {sampling.MAX_PRODUCTS} products of each"
    )
    return f"Verdict: {verdict.kind}; {verdict.explanation}. Measured on {sample}{left_out if order.sampled else ''}."


def _traffic(traffic: TrafficStatistics) -> Iterator[Row]:
    yield Row("heavy sessions", f"{traffic.heavy_sessions:,}")
    yield _share("interactions in heavy sessions", traffic.heavy_sessions_share)
    yield from (_visitor("session", session) for session in traffic.sessions)
    if traffic.users is not None:
        yield Row("users", f"{traffic.users:,}")
        yield Row("heavy users", f"{traffic.heavy_users:,}")
        yield _share("interactions of heavy users", traffic.heavy_users_share)
        yield from (_visitor("user", user) for user in traffic.heaviest_users)


def _visitor(kind: str, visitor: Visitor) -> Row:
    rate = "" if visitor.per_minute is None else f", {visitor.per_minute:,.1f} a minute"
    value = f"{counted(visitor.interactions, 'interaction')}, {counted(visitor.products, 'product')}{rate}"
    return Row(f"{kind} {visible(visitor.name)}", value)


def _tasks(tasks: TaskStatistics) -> Iterator[Row]:
    yield Row("sessions with a purchase", f"{tasks.purchases:,}")
    for counts in tasks.counts:
        value = f"{counts.training:,} / {counts.validation:,} / {counts.test:,}"
        if counts.test_purchases is not None:
            value += f", {counts.test_purchases:,} with a purchase"
        if counts.half_width is not None:
            value += f", ±{100 * counts.half_width:.1f} points"
        if counts.problem is not None:
            value += f": {counts.problem}"
        yield Row(f"{counts.task}, split by {counts.split}", value)


def _tasks_note(tasks: TaskStatistics) -> str:
    return (
        f"Examples to train / validate / test with, of {percent(tasks.holdout)} held out; ± is half of a 95% interval "
        "of a rate of 50% on the test examples, for pip on those of the rarer outcome."
    )


def _dropped(losses: IngestLosses) -> Iterator[Row]:
    yield Row("events read", f"{losses.events:,}")
    yield from _counts("dropped: ", losses.dropped, losses.events)
    yield _share("events that name products without text", losses.unknown_product_share)
