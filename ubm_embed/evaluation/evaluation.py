"""A model's table: asked what nobody trained on, beside simple baselines.

Letters: E questions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ubm_embed.data.batches.tokenized_corpus import TokenizedCorpus
from ubm_embed.data.corpus import Corpus
from ubm_embed.data.tasks.examples import Examples, Task
from ubm_embed.data.tasks.leaks import LeakReport, kept_to_split
from ubm_embed.data.tasks.questions import Questions
from ubm_embed.data.tasks.split import Split
from ubm_embed.data.text.token_table import TokenTable
from ubm_embed.errors import Conflict, InvalidData
from ubm_embed.evaluation.baselines import CoOccurrence, Popularity, RecentCoOccurrence, Scorer
from ubm_embed.evaluation.judgement import Judgement
from ubm_embed.evaluation.next_item import SessionModel, ranks_of
from ubm_embed.inference.embedder import Embedder
from ubm_embed.inference.predictor import Predictor
from ubm_embed.model.checkpoint import RECORD_FILE, Checkpoint, require_task
from ubm_embed.progress import Progress, silent

MODEL, OTHER = "UBM", "the other model"


@dataclass(frozen=True)
class Answers:
    """What one model answered: [E] ranks, probabilities or lengths; and of probabilities what is a yes."""

    name: str
    values: NDArray[Any]
    threshold: float = 0.5


@dataclass(frozen=True)
class Evaluation:
    """A table and what it stands on.

    Attributes:
        model_id, against: of the model and the other one.
        questions: E.
        rows: the model first.
    """

    task: Task
    model_id: str
    against: str | None
    questions: int
    split: Split
    leaks: LeakReport
    rows: tuple[Judgement, ...]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "task": str(self.task),
            "model_id": self.model_id,
            "against": self.against,
            "questions": self.questions,
            "split": self.split.to_dict(),
            "leaks": self.leaks.to_dict(),
            "rows": [row.to_dict() for row in self.rows],
        }


def evaluate(
    task: Task,
    corpus: Corpus,
    checkpoint: Checkpoint,
    *,
    against: Checkpoint | None = None,
    most: int = 10_000,
    seed: int = 0,
    repeats: bool | None = None,
    least: int | None = None,
    device: str = "auto",
    progress: Progress = silent,
) -> Evaluation:
    """Ask the test part of the split that the model was trained with; the baselines count the training part.

    Args:
        against: another model, in the same table, with p-values of a paired test against the first.
        most: ask at most so many questions, drawn at random.
        repeats, least: as of `Questions`; None as fine-tuning had them.

    Raises:
        InvalidData: the corpus cannot pose the task, the model has no head for it or was fine-tuned for another, or its
            record does not say what it was trained on.
        Conflict: the other model was trained with another split.
    """
    for model in (checkpoint, against):
        if model is not None:
            require_task(model, task)
    tokenized = TokenizedCorpus.of(corpus, checkpoint.tokenizer)
    split = _recorded_split(checkpoint, tokenized)
    theirs = tokenized if against is None else TokenizedCorpus.of(corpus, against.tokenizer)
    if against is not None:
        _require_same_split(split, against, theirs)
    settings = {"repeats": repeats, "least": least}
    questions = Questions.of(task, tokenized, split, **_agreed(settings, checkpoint))
    examples = questions.test(most=most, seed=seed)
    asking = Asking(corpus, questions, examples, device, progress)
    answers = [asking.model(MODEL, checkpoint, tokenized.texts)]
    if against is not None:
        answers.append(asking.model(OTHER, against, theirs.texts))
    answers.extend(asking.baselines(seed))
    rows = tuple(judged(questions, examples, one, answers[0], seed=seed) for one in answers)
    leaks = LeakReport.of(corpus, tokenized, split, pretrained=_pretrained(checkpoint, against))
    other = None if against is None else against.model_id
    return Evaluation(task, checkpoint.model_id, other, len(examples), split, leaks, rows)


def judged(questions: Questions, examples: Examples, answers: Answers, first: Answers, *, seed: int) -> Judgement:
    """A row of the table that is about `first`.

    Raises:
        InvalidData: too few questions to say how sure the figures are.
    """
    try:
        return Judgement.of(
            answers.name,
            questions,
            examples,
            answers.values,
            threshold=answers.threshold,
            against=None if answers is first else first.values,
            against_threshold=first.threshold,
            seed=seed,
        )
    except ValueError as error:  # of most resamples, such as those of one class
        raise InvalidData(f"{len(examples)} questions of {questions.task} are too few to judge by: {error}") from None


def _recorded_split(checkpoint: Checkpoint, corpus: TokenizedCorpus) -> Split:
    file = checkpoint.folder / RECORD_FILE if checkpoint.folder is not None else None
    split = Split.of_record(checkpoint.record, corpus)
    if split is None:
        problem = "the model was trained on another corpus: which of these sessions it has seen is not known"
        raise InvalidData(problem, file=file, field="corpus")
    if not split.holdout:
        problem = "the model was trained on every session: none is left to ask; train with --holdout 0.1"
        raise InvalidData(problem, file=file, field="split.holdout")
    return split


def _pretrained(*models: Checkpoint | None) -> str:
    """What the records say of whether pre-training kept to the split: the first that it did not, if one did not."""
    told = [kept_to_split(model.record) for model in models if model is not None]
    return next((one for one in told if one != "yes"), "yes")


def _agreed(settings: Mapping[str, int | None], checkpoint: Checkpoint) -> dict[str, int]:
    """What is asked for, else what fine-tuning had, else nothing, which leaves the default."""
    tuned = checkpoint.record.get("finetuning")
    tuned = tuned if isinstance(tuned, dict) else {}
    chosen = {name: tuned.get(name) if value is None else value for name, value in settings.items()}
    return {name: value for name, value in chosen.items() if value is not None}


def _require_same_split(split: Split, other: Checkpoint, corpus: TokenizedCorpus) -> None:
    theirs = _recorded_split(other, corpus)
    if theirs != split:
        raise Conflict(
            f"the models were trained with different splits, {split.to_dict()} and {theirs.to_dict()}: one would be "
            "asked what it has seen"
        )


@dataclass(frozen=True)
class Asking:
    """A task's questions and who may be asked them."""

    corpus: Corpus
    questions: Questions
    examples: Examples
    device: str = "auto"
    progress: Progress = silent

    def model(self, name: str, checkpoint: Checkpoint, texts: TokenTable) -> Answers:
        """What a model answers.

        Args:
            texts: of the corpus, by its own tokenizer, which need not be that of the questions: rows mean the same.
        """
        if self.questions.task is not Task.NIP:
            predictor = Predictor.of(checkpoint, device=self.device)
            return Answers(name, predictor.predict_table(texts, self.examples.prefixes), predictor.threshold)
        embedder = Embedder(checkpoint, device=self.device)
        return self.scorer(name, SessionModel.of(embedder, self.corpus.products, texts, self.progress))

    def scorer(self, name: str, scorer: Scorer) -> Answers:
        """The ranks that a scorer gives to the answers of NIP."""
        products, repeats = self.questions.corpus.products, self.questions.repeats
        ranks = ranks_of(scorer, self.examples, products, repeats=repeats, name=name, progress=self.progress)
        return Answers(name, ranks)

    def baselines(self, seed: int) -> Iterator[Answers]:
        """What needs no training (4.1.3): RAND for PIP, FIXED for RLP, POP for NIP, beside it two co-occurrences."""
        training, products = self.questions.parts.training, self.questions.corpus.products
        rng, count = np.random.default_rng([seed, 7]), len(self.examples)
        match self.questions.task:
            case Task.NIP:
                yield self.scorer("co-occurrence", CoOccurrence.fit(training, products))
                yield self.scorer("recent co-occurrence", RecentCoOccurrence.fit(training, products))
                yield self.scorer("POP", Popularity.fit(training, products))
            case Task.PIP:
                yield Answers("RAND", rng.random(count, dtype=np.float32))
            case Task.RLP:
                mean = self.questions.drawn(rng).targets.mean()
                yield Answers("FIXED", np.full(count, mean, dtype=np.float32))
