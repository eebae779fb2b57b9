"""A task, posed: which answers are allowed, how classes are balanced, and what cannot be asked."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ubm_embed.data.batches.session_table import SessionTable
from ubm_embed.data.batches.tokenized_corpus import TokenizedCorpus
from ubm_embed.data.session import Action
from ubm_embed.data.tasks.examples import Examples, Task
from ubm_embed.data.tasks.questions import LEAST_COUNT, Questions, over_sampled
from ubm_embed.data.tasks.split import Split, SplitKind
from ubm_embed.data.text.token_table import TokenTable
from ubm_embed.errors import InvalidData

SEARCH, VIEW, _, BUY = (action.code for action in Action)
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
    shown = [tuple(pairs[start:stop]) for start, stop in itertools.pairwise(prefixes.offsets.tolist())]
    return list(zip(shown, examples.targets.tolist(), strict=True))


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
    whole = [tuple(session) for session, _ in listed(Examples(sessions, np.arange(len(sessions))))]
    return [any(session[: len(prefix)] == prefix for session in whole) for prefix, _ in listed(examples)]


class TestNextItem:
    def test_answers_of_training_are_seen_there_often_enough(self):
        questions = Questions.of(Task.NIP, SHOP, BY_SESSION)
        assert LEAST_COUNT == questions.least_count == 5  # the paper's
        seen = set(questions.training(np.random.default_rng(0)).targets.tolist())
        rare = np.flatnonzero(questions.counts < 5)
        assert rare.size > 3
        assert not seen & set(rare.tolist())

    @pytest.mark.parametrize("part", ["validation", "test"])
    def test_answers_that_judge_are_seen_in_training_at_all(self, part):
        questions = Questions.of(Task.NIP, SHOP, BY_SESSION, repeats=True)
        seen = set(getattr(questions, part)(most=1000, seed=0).targets.tolist())
        assert seen
        assert not seen & set(np.flatnonzero(questions.counts == 0).tolist())

    def test_a_product_that_training_never_shows_is_no_answer(self):
        sessions = [[(VIEW, 0), (VIEW, 1)]] * 40
        part = BY_SESSION.membership(corpus_of(sessions))
        sessions = [[(VIEW, 0), (VIEW, 2)] if name == "test" else [(VIEW, 0), (VIEW, 1)] for name in part]
        with pytest.raises(InvalidData, match=r"expected 2 or more questions of nip to judge by, found 0 in \d+ sess"):
            Questions.of(Task.NIP, corpus_of(sessions), BY_SESSION).test(most=10, seed=0)

    def test_counts_are_of_products_in_the_training_part(self):
        questions = Questions.of(Task.NIP, SHOP, BY_SESSION)
        rows = questions.parts.training.rows.tolist()
        assert questions.counts.tolist() == [rows.count(product) for product in range(PRODUCTS)]

    @pytest.mark.parametrize("most", [1, 3])
    def test_a_session_gives_so_many_to_training_and_one_to_a_judgement(self, most):
        session = [(VIEW, row) for row in range(6)]
        questions = Questions.of(Task.NIP, corpus_of([session] * 100), BY_SESSION, per_session=most)
        assert len(questions.training(np.random.default_rng(0))) == most * len(questions.parts.training)
        assert len(questions.test(most=1000, seed=0)) == len(questions.parts.test.sessions)

    def test_walks_ask_what_single_questions_ask_in_an_order_of_their_own(self):
        questions = Questions.of(Task.NIP, SHOP, BY_SESSION, per_session=1000)
        walks = questions.walks(np.random.default_rng(0), limit=32)
        one_by_one = questions.training(np.random.default_rng(0))
        assert sorted(listed(walks.examples)) == sorted(listed(one_by_one))
        assert listed(walks.examples) == listed(questions.walks(np.random.default_rng(0), limit=32).examples)
        assert listed(walks.examples) != listed(questions.walks(np.random.default_rng(1), limit=32).examples)

    def test_walks_read_no_more_than_their_limit(self):
        questions = Questions.of(Task.NIP, SHOP, BY_SESSION)
        walks = questions.walks(np.random.default_rng(0), limit=4)
        assert walks.sessions.lengths.max() == 4

    def test_walks_without_a_question_are_told(self):
        with pytest.raises(InvalidData, match=r"expected 2 or more questions of nip to train on, found 0 in \d+ sess"):
            Questions.of(Task.NIP, SHOP, BY_SESSION, least_count=10_000).walks(np.random.default_rng(0), limit=32)

    def test_repeats_are_asked_for_on_request(self):
        corpus = corpus_of([[(VIEW, 0), (VIEW, 1), (VIEW, 0)]] * 100)
        for repeats, answers in ((False, {1}), (True, {0, 1})):
            questions = Questions.of(Task.NIP, corpus, BY_SESSION, repeats=repeats)
            assert set(questions.training(np.random.default_rng(0)).targets.tolist()) == answers

    def test_leave_one_out_asks_for_the_last_and_for_the_one_before(self):
        sessions = [[(VIEW, (start + place) % 6) for place in range(6)] for start in range(6)]
        questions = Questions.of(Task.NIP, corpus_of(sessions), LEAVE_ONE_OUT, least_count=4)
        assert listed(questions.test(most=99, seed=0)) == [(tuple(one[:5]), one[5][1]) for one in sessions]
        assert listed(questions.validation(most=99, seed=0)) == [(tuple(one[:4]), one[4][1]) for one in sessions]
        assert questions.training(np.random.default_rng(0)).prefixes.lengths.max() == 3

    def test_leave_one_out_asks_every_last_item_as_such_data_is_published(self):
        # Products 4 and 5 are the last of every session, and so in no session's training part.
        questions = Questions.of(Task.NIP, corpus_of([[(VIEW, row) for row in range(6)]] * 4), LEAVE_ONE_OUT)
        assert (questions.least_count, questions.asked_count) == (0, 0)
        assert set(questions.training(np.random.default_rng(0)).targets.tolist()) == {1, 2, 3}, "seen 4 times"
        assert questions.validation(most=99, seed=0).targets.tolist() == [4] * 4
        assert questions.test(most=99, seed=0).targets.tolist() == [5] * 4
        assert Questions.of(Task.NIP, SHOP, BY_SESSION).asked_count == 1


class TestPurchase:
    def test_training_and_validation_hold_both_classes_alike_and_the_test_the_world_s_share(self):
        questions = Questions.of(Task.PIP, SHOP, BY_SESSION)
        assert questions.training(np.random.default_rng(0)).targets.mean() == 0.5
        assert questions.validation(most=40, seed=0).targets.mean() == 0.5
        assert 0.1 < questions.test(most=1000, seed=0).targets.mean() < 0.4
        assert 0.1 < questions.drawn(np.random.default_rng(0)).targets.mean() < 0.4

    @pytest.mark.parametrize("bought", [True, False])
    def test_one_class_only(self, bought):
        session = [*[(VIEW, 1)] * 6, (BUY if bought else VIEW, 1)]
        questions = Questions.of(Task.PIP, corpus_of([session] * 100), BY_SESSION)
        which = "a" if bought else "no"
        with pytest.raises(InvalidData, match=rf"all \d+ sessions to train on come to {which} purchase, .*more than 5"):
            questions.training(np.random.default_rng(0))
        with pytest.raises(InvalidData, match=f"sessions to choose by come to {which} purchase"):
            questions.validation(most=50, seed=0)
        with pytest.raises(InvalidData, match=f"sessions to judge by come to {which} purchase"):
            questions.test(most=50, seed=0)


@pytest.mark.parametrize("task", Task)
class TestEveryTask:
    def test_training_asks_training_and_judges_ask_their_own_parts(self, task):
        questions = Questions.of(task, SHOP, BY_SESSION)
        parts = questions.parts
        asked = {
            "training": (questions.training(np.random.default_rng(0)), parts.training),
            "validation": (questions.validation(most=1000, seed=0), parts.validation.sessions),
            "test": (questions.test(most=1000, seed=0), parts.test.sessions),
        }
        for examples, sessions in asked.values():
            assert len(examples) > 30
            assert all(holders(examples, sessions))
        # What begins as a session of one part does not come from another; short beginnings may be anybody's.
        tested = [prefix for prefix, _ in listed(asked["test"][0]) if len(prefix) > 7]
        assert not {prefix for prefix, _ in listed(asked["training"][0])} & set(tested)

    def test_judges_are_repeatable_and_training_follows_its_generator(self, task):
        questions, again = (Questions.of(task, SHOP, BY_SESSION) for _ in range(2))
        for part in ("validation", "test"):
            first, second = (listed(getattr(one, part)(most=20, seed=1)) for one in (questions, again))
            assert first == second != listed(getattr(questions, part)(most=20, seed=2))
        first, second, other = (listed(questions.training(np.random.default_rng(seed))) for seed in (1, 1, 2))
        assert first == second != other

    def test_training_is_what_is_drawn_in_another_order(self, task):
        questions = Questions.of(task, SHOP, BY_SESSION)
        trained = listed(questions.training(np.random.default_rng(0)))
        drawn = listed(questions.drawn(np.random.default_rng(0)))
        assert set(trained) == set(drawn)
        assert task is Task.PIP or sorted(trained) == sorted(drawn)
        assert trained != drawn

    def test_at_most_so_many_judge(self, task):
        questions = Questions.of(task, SHOP, BY_SESSION)
        assert len(questions.test(most=20, seed=0)) == 20
        validation = questions.validation(most=20, seed=0)
        assert len({prefix for prefix, _ in listed(validation)}) <= 20
        # Over-sampling comes on top.
        assert 20 < len(validation) < 40 if task is Task.PIP else len(validation) == 20

    def test_fewer_than_two_questions(self, task):
        questions = Questions.of(task, corpus_of([[(VIEW, 1)]] * 100), BY_SESSION)
        problem = rf"expected 2 or more questions of {task} to train on, found 0 in \d\d sessions: a question "
        with pytest.raises(InvalidData, match=problem):
            questions.training(np.random.default_rng(0))
        with pytest.raises(InvalidData, match="to choose by"):
            questions.validation(most=10, seed=0)
        with pytest.raises(InvalidData, match="found 1 in"):
            Questions.of(task, SHOP, BY_SESSION).test(most=1, seed=0)

    def test_leave_one_out_poses_the_next_item_only(self, task):
        if task is Task.NIP:
            assert len(Questions.of(task, SHOP, LEAVE_ONE_OUT).test(most=20, seed=0)) == 20
        else:
            with pytest.raises(InvalidData, match=f"{task} needs a split by time or by session"):
                Questions.of(task, SHOP, LEAVE_ONE_OUT)

    def test_least_is_of_purchase_and_length(self, task):
        questions = Questions.of(task, SHOP, BY_SESSION, least=3)
        shortest = questions.training(np.random.default_rng(0)).prefixes.lengths.min()
        assert task is Task.NIP or shortest == 3


class TestOverSampled:
    @given(st.lists(st.booleans(), min_size=2, max_size=30).filter(lambda some: len(set(some)) == 2))
    def test_both_classes_are_as_frequent_and_no_example_is_lost(self, classes):
        examples = Examples(table([[(VIEW, number)] for number in range(len(classes))]), np.array(classes))
        found = over_sampled(examples, np.random.default_rng(0))
        most = max(map(classes.count, (True, False)))
        assert [np.sum(found.targets == bought) for bought in (True, False)] == [most, most]
        assert set(listed(found)) == set(listed(examples))
        # Of a class, no example is repeated more often than another but for one time.
        for bought in (True, False):
            times = np.unique(found.prefixes.rows[found.targets == bought], return_counts=True)[1]
            assert np.ptp(times) <= 1

    def test_the_same_seed_repeats_the_same(self):
        examples = Examples(table([[(VIEW, number)] for number in range(20)]), np.arange(20) < 7)
        first, second, other = (listed(over_sampled(examples, np.random.default_rng(seed))) for seed in (1, 1, 2))
        assert first == second != other
