"""Findings about texts, tasks, and events that ingest dropped."""

from __future__ import annotations

from collections.abc import Iterator

from ubm_embed.data.inspection.finding import Finding, Severity
from ubm_embed.data.inspection.losses import IngestLosses
from ubm_embed.data.inspection.tasks import ENOUGH, TaskCounts, TaskStatistics
from ubm_embed.data.inspection.texts import TextStatistics
from ubm_embed.data.inspection.wording import counted, percent, visible
from ubm_embed.data.tasks.task import SplitKind, Task
from ubm_embed.data.text.tokenizer import MAX_TITLE_TOKENS, MAX_TOKENS


def text_findings(texts: TextStatistics, products: int) -> Iterator[Finding]:
    """Findings about the texts of products."""

    def finding(severity: Severity, problem: str, remedy: str) -> Finding:
        return Finding(severity, "texts", problem, remedy)

    if texts.empty_title_share > 0:
        yield finding(
            Severity.WARNING if texts.empty_title_share > 0.05 else Severity.NOTE,
            f"{percent(texts.empty_title_share)} of the products have no title",
            "give a catalogue with titles (`ingest --catalogue`): category and attributes tell few products apart",
        )
    if texts.id_title_share + texts.number_title_share > 0.01:
        share = max(texts.id_title_share, texts.number_title_share)
        yield finding(
            Severity.WARNING,
            f"{percent(share)} of the titles are the product's id or have no letter",
            "take the title from another column: the model reads words",
        )
    if texts.same_text_share > 0.01:
        yield finding(
            Severity.WARNING if texts.same_text_share > 0.1 else Severity.NOTE,
            f"{percent(texts.same_text_share)} of the products share all of their text with another product",
            "the model gives them one vector; add what tells them apart (size, colour, model), or keep one of each",
        )
    if texts.frequent_titles:
        title, count = next(iter(texts.frequent_titles.items()))
        if count > max(20, products / 20):
            yield finding(
                Severity.WARNING,
                f"{counted(count, 'product')} have the title {visible(title)!r}",
                "look whether it stands for a missing title",
            )
    if texts.ellipsis_share > 0.01:
        yield finding(
            Severity.NOTE,
            f"{percent(texts.ellipsis_share)} of the titles end in an ellipsis: they are cut",
            "take titles from the catalogue rather than from pages or events",
        )
    if texts.title_cap is not None:
        cap = texts.title_cap
        yield finding(
            Severity.NOTE,
            f"{counted(cap.titles, 'title')} have exactly {cap.length} characters, "
            f"{cap.longer or 'none'} more: they seem to be cut",
            "take titles from a source that does not cut them",
        )
    if texts.markup_share > 0.001:
        yield finding(
            Severity.WARNING,
            f"{percent(texts.markup_share)} of the titles have HTML tags or entities",
            "export plain text; ingest unescapes entities, and tags are read as words",
        )
    if texts.broken_share > 0.001:
        yield finding(
            Severity.WARNING,
            f'{percent(texts.broken_share)} of the titles were decoded wrongly ("Ã¼" for "ü")',
            "export the catalogue as UTF-8, or name its encoding in the mapping",
        )
    if texts.long_title_share > 0.1:
        yield finding(
            Severity.NOTE,
            f"{percent(texts.long_title_share)} of the titles have more than {MAX_TITLE_TOKENS} {texts.counted_in}",
            "the model reads so many from the start: put first what matters",
        )
    if texts.long_text_share > 0.1:
        yield finding(
            Severity.NOTE,
            f"{percent(texts.long_text_share)} of the texts are longer than the {MAX_TOKENS} tokens that are read",
            "put attributes first that tell products apart, and leave out those that all have",
        )
    second = sorted(texts.scripts.values())[-2:-1]
    if second and second[0] > products / 20:
        names = ", ".join(f"{name} {percent(count / products)}" for name, count in texts.scripts.items())
        yield finding(
            Severity.NOTE,
            f"titles in several scripts: {names}",
            "learn the vocabulary from these texts, which is the default; a BERT vocabulary of one language reads the "
            "others letter by letter or not at all",
        )


def task_findings(tasks: TaskStatistics) -> Iterator[Finding]:
    """Findings about what each task could be asked with, under the split that `auto` chooses."""
    chosen = tasks.counts[0].split  # by time where that is possible
    for counts in tasks.counts:
        if counts.split != chosen:
            continue
        finding = _task_finding(counts, tasks)
        if finding is not None:
            yield finding


def _task_finding(counts: TaskCounts, tasks: TaskStatistics) -> Finding | None:
    name = f"{counts.task}, split by {'time' if counts.split == SplitKind.TIME else 'session'}"
    is_pip = counts.task == Task.PIP
    if is_pip and not tasks.purchases:
        return Finding(
            Severity.NOTE, "tasks", "pip: no purchases", "map the purchases of the log if purchase intention is wanted"
        )
    if counts.problem is not None:
        return Finding(
            Severity.NOTE if is_pip else Severity.WARNING, "tasks", f"{name}: {counts.problem}", _more_data(counts)
        )
    if counts.half_width is not None and counts.half_width > 0.05:
        what = f", {counts.test_purchases:,} with a purchase" if counts.test_purchases is not None else ""
        return Finding(
            Severity.NOTE,
            "tasks",
            f"{name}: {counted(counts.test, 'test example')}{what}: an interval of up to "
            f"±{100 * counts.half_width:.0f} points",
            f"{ENOUGH} examples{' of the rarer outcome' if is_pip else ''} give ±5 points: a longer log, or a larger "
            "--holdout",
        )
    return None


def _more_data(counts: TaskCounts) -> str:
    if counts.task == Task.PIP and not counts.training:
        return "an example begins with 5 interactions without a purchase: map also what comes before purchases"
    if counts.task == Task.NIP:
        return "an example needs a product that follows another one and occurs often enough: take a longer log"
    no_purchase = ", none of the first 5 a purchase" if counts.task == Task.PIP else ""
    return f"an example needs a session of more than 5 interactions{no_purchase}: take a longer log"


def loss_findings(losses: IngestLosses) -> Iterator[Finding]:
    """Findings about dropped events."""
    if losses.unknown_product_share > 0.01:
        yield Finding(
            Severity.WARNING if losses.unknown_product_share > 0.05 else Severity.NOTE,
            "dropped",
            f"{percent(losses.unknown_product_share)} of the events name products without text",
            "give `ingest --catalogue` a catalogue that has the products of the whole log, also those sold out since",
        )
    other = losses.lost_share - losses.unknown_product_share
    if other > 0.01:
        yield Finding(
            Severity.WARNING if other > 0.05 else Severity.NOTE,
            "dropped",
            f"{percent(other)} of the events were dropped for other reasons",
            "look at the reasons in the report of ingest",
        )
