"""A task's examples: which targets are allowed, how classes are balanced, and what is too little."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ubm_embed.data.batches.session_table import SessionTable
from ubm_embed.data.batches.tokenized_corpus import TokenizedCorpus
from ubm_embed.data.session import Action
from ubm_embed.data.tasks.dataset import MIN_COUNT, TaskDataset, over_sampled
from ubm_embed.data.tasks.examples import TargetRange, TaskExamples
from ubm_embed.data.tasks.next_item_examples import next_item_examples
from ubm_embed.data.tasks.split import Split
from ubm_embed.data.tasks.task import SplitKind, Task
from ubm_embed.data.text.token_table import TokenTable
from ubm_embed.errors import InvalidData

SEARCH, VIEW, ADD, BUY, REMOVE = (action.code for action in Action)
PRODUCTS, PHRASE = 30, 30
TEXTS = TokenTable.from_rows([[7]] * (PRODUCTS + 1))
BY_SESSION = Split(kind=SplitKind.SESSION, holdout=0.4)
LEAVE_ONE_OUT = Split(kind=SplitKind.LEAVE_ONE_OUT, holdout=0.4)


def table(sessions):
    flat = [pair for session in sessions for pair in session]
    actions = np.array([action for action, _ in flat], dtype=np.uint8)
    rows = np.array([row for _, row in flat], dtype=np.int32)
    return SessionTable(actions, rows, np.cumsum([0, *map(len, sessions)]))


def listed(examples):
    prefixes = examples.prefixes
    pairs = list(zip(prefixes.actions.tolist(), prefixes.rows.tolist(), strict=True))
    prefixes_of = [tuple(pairs[start:stop]) for start, stop in itertools.pairwise(prefixes.offsets.tolist())]
    return list(zip(prefixes_of, examples.targets.tolist(), strict=True))


def corpus_of(sessions):
    ids = np.array([f"s{number}" for number in range(len(sessions))], dtype=object)
    return TokenizedCorpus(TEXTS, PRODUCTS, table(sessions), ids)


def shop(count=300):
    """Sessions of 6 to 14 interactions, low products far more often than high ones, one in three with a purchase."""
    rng = np.random.default_rng(3)
    sessions = []
    for number in range(count):
        rows = np.minimum(rng.geometric(0.2, rng.integers(6, 15)) - 1, PRODUCTS - 1)
        session = [(SEARCH, PHRASE), *((VIEW, int(row)) for row in rows)]
        sessions.append([*session, (BUY, int(rows[-1]))] if number % 3 == 0 else session)
    return sessions


SHOP = corpus_of(shop())


def holders(examples, sessions):
    """Which of these sessions may have given each example: those that begin with its prefix."""
    whole = [tuple(session) for session, _ in listed(TaskExamples(sessions, np.arange(len(sessions))))]
    return [any(session[: len(prefix)] == prefix for session in whole) for prefix, _ in listed(examples)]


class TestNextItem:
    def test_what_was_taken_back_does_not_count_as_seen_in_training(self):
        session = [(VIEW, 0), (ADD, 1), (REMOVE, 1), (VIEW, 1), (REMOVE, 2), (BUY, 1)]
        dataset = TaskDataset.from_split(Task.NIP, corpus_of([session]), Split(kind=SplitKind.SESSION, holdout=0.0))
        assert dataset.counts[:3].tolist() == [1, 2, 0]

    def test_targets_of_training_are_seen_there_often_enough(self):
        dataset = TaskDataset.from_split(Task.NIP, SHOP, BY_SESSION)
        assert MIN_COUNT == dataset.min_count == 5  # the paper's
        seen = set(dataset.training(np.random.default_rng(0)).targets.tolist())
        rare = np.flatnonzero(dataset.counts < 5)
        assert rare.size > 3
        assert not seen & set(rare.tolist())

    @pytest.mark.parametrize("part", ["validation", "test"])
    def test_targets_of_validation_and_test_are_seen_in_training(self, part):
        dataset = TaskDataset.from_split(Task.NIP, SHOP, BY_SESSION, repeats=True)
        seen = set(getattr(dataset, part)(max_examples=1000, seed=0).targets.tolist())
        assert seen
        assert not seen & set(np.flatnonzero(dataset.counts == 0).tolist())

    def test_a_product_that_training_never_shows_is_not_a_target(self):
        sessions = [[(VIEW, 0), (VIEW, 1)]] * 40
        part = BY_SESSION.membership(corpus_of(sessions))
        sessions = [[(VIEW, 0), (VIEW, 2)] if name == "test" else [(VIEW, 0), (VIEW, 1)] for name in part]
        with pytest.raises(InvalidData, match=r"expected 2 or more examples of nip to test with, found 0 in \d+ sess"):
            TaskDataset.from_split(Task.NIP, corpus_of(sessions), BY_SESSION).test(max_examples=10, seed=0)

    def test_counts_are_of_products_in_the_training_part(self):
        dataset = TaskDataset.from_split(Task.NIP, SHOP, BY_SESSION)
        rows = dataset.parts.training.rows.tolist()
        assert dataset.counts.tolist() == [rows.count(product) for product in range(PRODUCTS)]

    @pytest.mark.parametrize("most", [1, 3])
    def test_examples_of_a_session_are_limited_in_training_and_one_in_the_test(self, most):
        session = [(VIEW, row) for row in range(6)]
        dataset = TaskDataset.from_split(Task.NIP, corpus_of([session] * 100), BY_SESSION, max_per_session=most)
        assert len(dataset.training(np.random.default_rng(0))) == most * len(dataset.parts.training)
        assert len(dataset.test(max_examples=1000, seed=0)) == len(dataset.parts.test.sessions)

    def test_sequences_have_the_targets_of_single_examples_and_of_searches_in_an_order_of_their_own(self):
        dataset = TaskDataset.from_split(Task.NIP, SHOP, BY_SESSION, max_per_session=1000)
        sequences = dataset.sequences(np.random.default_rng(0), limit=32)
        part, is_product = TargetRange.whole(dataset.parts.training), dataset.corpus.is_product
        allowed = dataset.counts >= dataset.min_count
        allowed = np.append(allowed, np.zeros(is_product.size - allowed.size, bool))
        one_by_one = next_item_examples(part, is_product, allowed=allowed, searches=True)
        assert sorted(listed(sequences.examples)) == sorted(listed(one_by_one))
        assert not {example[0] for example in listed(one_by_one)} <= {
            example[0] for example in listed(dataset.training(np.random.default_rng(0)))
        }
        assert listed(sequences.examples) == listed(dataset.sequences(np.random.default_rng(0), limit=32).examples)
        assert listed(sequences.examples) != listed(dataset.sequences(np.random.default_rng(1), limit=32).examples)

    def test_sequences_read_no_more_than_their_limit(self):
        dataset = TaskDataset.from_split(Task.NIP, SHOP, BY_SESSION)
        sequences = dataset.sequences(np.random.default_rng(0), limit=4)
        assert sequences.sessions.lengths.max() == 4

    def test_sequences_without_a_target_are_refused(self):
        with pytest.raises(InvalidData, match=r"expected 2 or more examples of nip to train on, found 0 in \d+ sess"):
            TaskDataset.from_split(Task.NIP, SHOP, BY_SESSION, min_count=10_000).sequences(
                np.random.default_rng(0), limit=32
            )

    def test_repeats_are_targets_on_request(self):
        corpus = corpus_of([[(VIEW, 0), (VIEW, 1), (VIEW, 0)]] * 100)
        for repeats, targets in ((False, {1}), (True, {0, 1})):
            dataset = TaskDataset.from_split(Task.NIP, corpus, BY_SESSION, repeats=repeats)
            assert set(dataset.training(np.random.default_rng(0)).targets.tolist()) == targets

    def test_leave_one_out_tests_the_last_interaction_and_validates_the_one_before(self):
        sessions = [[(VIEW, (start + place) % 6) for place in range(6)] for start in range(6)]
        dataset = TaskDataset.from_split(Task.NIP, corpus_of(sessions), LEAVE_ONE_OUT, min_count=4)
        assert listed(dataset.test(max_examples=99, seed=0)) == [(tuple(one[:5]), one[5][1]) for one in sessions]
        assert listed(dataset.validation(max_examples=99, seed=0)) == [(tuple(one[:4]), one[4][1]) for one in sessions]
        assert dataset.training(np.random.default_rng(0)).prefixes.lengths.max() == 3

    def test_leave_one_out_takes_every_last_item_as_results_are_published(self):
        # Products 4 and 5 are the last of every session, and so in no session's training part.
        dataset = TaskDataset.from_split(Task.NIP, corpus_of([[(VIEW, row) for row in range(6)]] * 4), LEAVE_ONE_OUT)
        assert (dataset.min_count, dataset.min_eval_count) == (0, 0)
        assert set(dataset.training(np.random.default_rng(0)).targets.tolist()) == {1, 2, 3}, "seen 4 times"
        assert dataset.validation(max_examples=99, seed=0).targets.tolist() == [4] * 4
        assert dataset.test(max_examples=99, seed=0).targets.tolist() == [5] * 4
        assert TaskDataset.from_split(Task.NIP, SHOP, BY_SESSION).min_eval_count == 1


class TestPurchase:
    def test_training_and_validation_are_balanced_and_the_test_is_as_logged(self):
        dataset = TaskDataset.from_split(Task.PIP, SHOP, BY_SESSION)
        assert dataset.training(np.random.default_rng(0)).targets.mean() == 0.5
        assert dataset.validation(max_examples=40, seed=0).targets.mean() == 0.5
        assert 0.1 < dataset.test(max_examples=1000, seed=0).targets.mean() < 0.4
        assert 0.1 < dataset.unbalanced_training(np.random.default_rng(0)).targets.mean() < 0.4

    @pytest.mark.parametrize("bought", [True, False])
    def test_one_class_only(self, bought):
        session = [*[(VIEW, 1)] * 6, (BUY if bought else VIEW, 1)]
        dataset = TaskDataset.from_split(Task.PIP, corpus_of([session] * 100), BY_SESSION)
        end = "end in a purchase" if bought else "end without a purchase"
        with pytest.raises(InvalidData, match=rf"all \d+ sessions to train on {end}, .*more than 5"):
            dataset.training(np.random.default_rng(0))
        with pytest.raises(InvalidData, match=f"sessions to validate with {end}"):
            dataset.validation(max_examples=50, seed=0)
        with pytest.raises(InvalidData, match=f"sessions to test with {end}"):
            dataset.test(max_examples=50, seed=0)


@pytest.mark.parametrize("task", Task)
class TestEveryTask:
    def test_examples_come_from_their_own_part(self, task):
        dataset = TaskDataset.from_split(task, SHOP, BY_SESSION)
        parts = dataset.parts
        examples_of = {
            "training": (dataset.training(np.random.default_rng(0)), parts.training),
            "validation": (dataset.validation(max_examples=1000, seed=0), parts.validation.sessions),
            "test": (dataset.test(max_examples=1000, seed=0), parts.test.sessions),
        }
        for examples, sessions in examples_of.values():
            assert len(examples) > 30
            assert all(holders(examples, sessions))
        # What begins as a session of one part does not come from another; short prefixes may be anybody's.
        tested = [prefix for prefix, _ in listed(examples_of["test"][0]) if len(prefix) > 7]
        assert not {prefix for prefix, _ in listed(examples_of["training"][0])} & set(tested)

    def test_validation_and_test_are_repeatable_and_training_follows_its_generator(self, task):
        dataset, again = (TaskDataset.from_split(task, SHOP, BY_SESSION) for _ in range(2))
        for part in ("validation", "test"):
            first, second = (listed(getattr(one, part)(max_examples=20, seed=1)) for one in (dataset, again))
            assert first == second != listed(getattr(dataset, part)(max_examples=20, seed=2))
        first, second, other = (listed(dataset.training(np.random.default_rng(seed))) for seed in (1, 1, 2))
        assert first == second != other

    def test_training_is_what_is_drawn_in_another_order(self, task):
        dataset = TaskDataset.from_split(task, SHOP, BY_SESSION)
        trained = listed(dataset.training(np.random.default_rng(0)))
        drawn = listed(dataset.unbalanced_training(np.random.default_rng(0)))
        assert set(trained) == set(drawn)
        assert task is Task.PIP or sorted(trained) == sorted(drawn)
        assert trained != drawn

    def test_validation_and_test_are_limited(self, task):
        dataset = TaskDataset.from_split(task, SHOP, BY_SESSION)
        assert len(dataset.test(max_examples=20, seed=0)) == 20
        validation = dataset.validation(max_examples=20, seed=0)
        assert len({prefix for prefix, _ in listed(validation)}) <= 20
        # Over-sampling comes on top.
        assert 20 < len(validation) < 40 if task is Task.PIP else len(validation) == 20

    def test_fewer_than_two_examples(self, task):
        dataset = TaskDataset.from_split(task, corpus_of([[(VIEW, 1)]] * 100), BY_SESSION)
        problem = rf"expected 2 or more examples of {task} to train on, found 0 in \d\d sessions: "
        with pytest.raises(InvalidData, match=problem):
            dataset.training(np.random.default_rng(0))
        with pytest.raises(InvalidData, match="to validate with"):
            dataset.validation(max_examples=10, seed=0)
        with pytest.raises(InvalidData, match="found 1 in"):
            TaskDataset.from_split(task, SHOP, BY_SESSION).test(max_examples=1, seed=0)

    def test_leave_one_out_has_the_next_item_only(self, task):
        if task is Task.NIP:
            assert len(TaskDataset.from_split(task, SHOP, LEAVE_ONE_OUT).test(max_examples=20, seed=0)) == 20
        else:
            with pytest.raises(InvalidData, match=f"{task} needs a split by time or by session"):
                TaskDataset.from_split(task, SHOP, LEAVE_ONE_OUT)

    def test_the_shortest_prefix_is_of_purchase_and_length(self, task):
        dataset = TaskDataset.from_split(task, SHOP, BY_SESSION, min_interactions=3)
        shortest = dataset.training(np.random.default_rng(0)).prefixes.lengths.min()
        assert task is Task.NIP or shortest == 3


class TestOverSampled:
    @given(st.lists(st.booleans(), min_size=2, max_size=30).filter(lambda some: len(set(some)) == 2))
    def test_both_classes_are_as_frequent_and_no_example_is_lost(self, classes):
        examples = TaskExamples(table([[(VIEW, number)] for number in range(len(classes))]), np.array(classes))
        result = over_sampled(examples, np.random.default_rng(0))
        most = max(map(classes.count, (True, False)))
        assert [np.sum(result.targets == bought) for bought in (True, False)] == [most, most]
        assert set(listed(result)) == set(listed(examples))
        # Of a class, no example is repeated more often than another but for one time.
        for bought in (True, False):
            times = np.unique(result.prefixes.rows[result.targets == bought], return_counts=True)[1]
            assert np.ptp(times) <= 1

    def test_the_same_seed_repeats_the_same(self):
        examples = TaskExamples(table([[(VIEW, number)] for number in range(20)]), np.arange(20) < 7)
        first, second, other = (listed(over_sampled(examples, np.random.default_rng(seed))) for seed in (1, 1, 2))
        assert first == second != other
