"""What each task could be asked with, by the rules of training and evaluation."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from ubm_embed.data.corpus import Corpus
from ubm_embed.data.inspection.numbered_corpus import NumberedCorpus
from ubm_embed.data.inspection.tasks import HOLDOUT, TaskCounts, TaskStatistics
from ubm_embed.data.sample_shop import write_sample_shop
from ubm_embed.data.tasks.dataset import TaskDataset
from ubm_embed.data.tasks.split import Split
from ubm_embed.data.tasks.task import SplitKind, Task
from ubm_embed.training.pretraining.config import PretrainingConfig

CorpusOf = Callable[..., Corpus]
ALL = 10**9


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder = tmp_path_factory.mktemp("shop") / "corpus"
    write_sample_shop(folder, products=60, sessions=600)
    return Corpus.open(folder)


def counts_of(corpus: Corpus) -> dict[tuple[str, str], TaskCounts]:
    measured = TaskStatistics.measure(NumberedCorpus.from_corpus(corpus))
    return {(counts.task, counts.split): counts for counts in measured.counts}


def test_the_holdout_is_that_of_pretraining() -> None:
    assert PretrainingConfig().holdout == HOLDOUT


@pytest.mark.parametrize("kind", [SplitKind.TIME, SplitKind.SESSION, SplitKind.LEAVE_ONE_OUT])
@pytest.mark.parametrize("task", list(Task))
def test_as_many_examples_as_training_and_evaluation_get(shop: Corpus, task: Task, kind: SplitKind) -> None:
    counts = counts_of(shop).get((task, kind))
    if kind is SplitKind.LEAVE_ONE_OUT and task is not Task.NIP:
        assert counts is None
        return
    assert counts is not None
    tokenized = NumberedCorpus.from_corpus(shop).without_texts()
    dataset = TaskDataset.from_split(task, tokenized, Split.choose(tokenized, holdout=HOLDOUT, kind=kind))
    test = dataset.test(max_examples=ALL, seed=0)
    assert counts.test == len(test)
    assert counts.problem is None
    if task is Task.PIP:
        assert counts.test_purchases == test.targets.sum()
    else:
        assert counts.validation == len(dataset.validation(max_examples=ALL, seed=0))


def test_sessions_with_a_purchase(corpus_of: CorpusOf) -> None:
    corpus = corpus_of([["a", "buy a", "buy b"], ["a"], ["buy a"]])
    assert TaskStatistics.measure(NumberedCorpus.from_corpus(corpus)).purchases == 2


def test_a_split_by_time_needs_a_time_in_every_session(corpus_of: CorpusOf) -> None:
    sessions, begin = [["a", "b"], ["b", "a"]], datetime(2025, 3, 1)
    whole = [[begin, begin], [begin + timedelta(days=1)] * 2]
    assert "time" in {split for _, split in counts_of(corpus_of(sessions, times=whole))}
    assert "time" not in {split for _, split in counts_of(corpus_of(sessions, times=[whole[0], [None, None]]))}
    assert "time" not in {split for _, split in counts_of(corpus_of(sessions))}


def test_what_a_task_lacks(corpus_of: CorpusOf) -> None:
    views = [["a", "b", "c", "d", "e", "f", "g"]] * 400
    counts = counts_of(corpus_of(views))
    assert counts["pip", "session"].problem is not None
    assert "end without a purchase" in counts["pip", "session"].problem
    assert counts["rlp", "session"].problem is None
    short = counts_of(corpus_of([["a", "b"]] * 400))["rlp", "session"]
    assert short.problem == "0 examples in the training part, at least 2 are needed"
    assert short.half_width is None


def test_the_interval_shrinks_with_the_root_of_the_examples(shop: Corpus) -> None:
    counts = counts_of(shop)["nip", "leave-one-out"]
    assert counts.half_width == pytest.approx(0.98 / counts.test**0.5)
