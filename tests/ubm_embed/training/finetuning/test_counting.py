"""What counting says in a head, against the models that were fitted, and that no session is counted by itself."""

import numpy as np
import pytest
import torch

from tests.ubm_embed.training.finetuning.test_head_objectives import stirred
from tests.ubm_embed.training.finetuning.test_objectives import UNREAD, WIDTH, CausalToyTower
from ubm_embed.data.batches.session_table import SessionTable
from ubm_embed.data.session import Action
from ubm_embed.data.tasks.examples import TargetSequences, TaskExamples
from ubm_embed.data.tasks.session_features import FEATURES, session_features
from ubm_embed.evaluation import head_baselines
from ubm_embed.evaluation.head_baselines import linear_model, tree_model
from ubm_embed.model.counting_logit import CountingLogit
from ubm_embed.model.heads import PurchaseIntentionHead
from ubm_embed.training.finetuning import counting
from ubm_embed.training.finetuning.counting import FOLDS, fit_counting, folds_of
from ubm_embed.training.finetuning.head_objectives import PurchaseIntention

LENGTH = 3


def sessions(count, seed=0):
    """Sessions of 5 to 9 interactions, some with adds."""
    rng = np.random.default_rng(seed)
    offsets = np.cumsum([0, *rng.integers(5, 10, size=count)])
    actions = rng.choice([Action.VIEW.code, Action.ADD.code, Action.SEARCH.code], size=offsets[-1], p=[0.7, 0.2, 0.1])
    return SessionTable(actions.astype(np.uint8), rng.integers(6, size=offsets[-1]).astype(np.int32), offsets)


class Toy:
    """A dataset whose purchases follow adds, mostly."""

    min_interactions = LENGTH

    def __init__(self, count, share=None):
        self.table = sessions(count)
        luck = np.random.default_rng(1).normal(size=count)
        score = session_features(self.table)[:, FEATURES.index("log adds")] + 0.5 * luck
        self.bought = score > (np.median(score) if share is None else np.quantile(score, 1 - share))

    def unbalanced_training(self, rng):
        return TaskExamples(self.table, self.bought)


@pytest.fixture(scope="module", autouse=True)
def few_trees():
    """As many as tell the sessions apart."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(head_baselines._TREES, "max_iter", 10)
        yield


@pytest.fixture(scope="module")
def toy():
    return Toy(600)


@pytest.fixture(scope="module")
def fitted(toy):
    result = fit_counting(toy, np.random.default_rng(0))
    assert result is not None
    return result


@pytest.mark.parametrize("weights", [(1.0, 0.0), (0.0, 1.0), (0.25, 0.5)])
def test_the_arrays_say_what_the_models_say(toy, weights):
    features, asked = session_features(toy.table), session_features(sessions(200, seed=2))
    models = [model.fit(features, toy.bought) for model in (linear_model(), tree_model())]
    prior = np.log(toy.bought.mean() / (1 - toy.bought.mean()))
    expected = sum(
        weight * (model.decision_function(asked) - prior) for weight, model in zip(weights, models, strict=True)
    )
    logit = counting._Fitted.from_examples(features, toy.bought).logit(weights)
    np.testing.assert_allclose(logit(torch.from_numpy(asked)).numpy(), expected, atol=1e-4)
    assert np.ptp(expected) > 0.1


def test_a_fresh_one_says_nothing():
    assert not CountingLogit(4, 3)(torch.rand(5, 4)).any()


def test_a_session_is_counted_by_models_of_the_others(toy, fitted, monkeypatch):
    """Turning the outcomes of one fold around leaves what is said about it as it is."""
    monkeypatch.setattr(counting, "_best_weights", lambda *_: (0.5, 0.5))
    folds = folds_of(toy.table, LENGTH)
    turned = Toy(600)
    turned.bought = np.where(folds == 2, ~toy.bought, toy.bought)
    features = torch.from_numpy(session_features(toy.table))
    before, after = (fit_counting(one, np.random.default_rng(0)) for one in (toy, turned))
    torch.testing.assert_close(before[1][2](features), after[1][2](features))
    assert not torch.allclose(before[1][1](features), after[1][1](features))
    assert not torch.allclose(before[0](features), after[0](features))


def test_what_only_seems_to_help_weighs_nothing():
    table = Toy(600)
    table.bought = np.random.default_rng(5).random(600) < 0.5
    logit, _ = fit_counting(table, np.random.default_rng(0))
    assert logit(torch.from_numpy(session_features(table.table))).std() < 0.3


@pytest.mark.parametrize("purchases", [0, 9])
def test_too_few_purchases_are_not_counted(purchases):
    toy = Toy(200)
    toy.bought = np.arange(200) < purchases
    assert fit_counting(toy, np.random.default_rng(0)) is None


def test_all_prefixes_of_a_session_are_in_its_fold():
    table = sessions(300)
    folds = folds_of(table, LENGTH)
    for extra in range(3):
        shorter = table.slices(table.offsets[:-1], table.offsets[:-1] + LENGTH + extra)
        np.testing.assert_array_equal(folds_of(shorter, LENGTH), folds)
    assert np.bincount(folds, minlength=FOLDS).min() > 20


class TestObjective:
    @pytest.fixture
    def objective(self, fitted):
        head = PurchaseIntentionHead(WIDTH, len(FEATURES), trees=fitted[0].values.shape[0])
        head.counting.load_state_dict(fitted[0].state_dict())
        head.purchase_share.fill_(0.3)
        return PurchaseIntention(CausalToyTower(), head, all_positions=True, folds=fitted[1], fold_length=LENGTH)

    @pytest.fixture
    def examples(self):
        table = sessions(20, seed=3)
        positions = table.offsets[1:] - 1
        return TargetSequences(table, positions, np.arange(20) % 3 == 0)

    def test_a_fresh_head_says_what_counting_says(self, objective, examples):
        table = examples.sessions
        expected = torch.sigmoid(objective.head.counting(torch.from_numpy(session_features(table))) + np.log(0.3 / 0.7))
        np.testing.assert_allclose(objective.eval().predict(table), expected.numpy(), rtol=1e-5)

    def test_training_reads_what_the_models_of_other_sessions_say(self, objective, examples):
        features, folds = torch.from_numpy(session_features(examples.sessions)), folds_of(examples.sessions, LENGTH)
        said = torch.stack([objective.folds[fold](row[None])[0] for fold, row in zip(folds, features, strict=True)])
        logits = said + np.log(0.3 / 0.7)
        bought = torch.from_numpy(examples.targets).float()
        expected = torch.nn.functional.binary_cross_entropy_with_logits(logits, bought)
        assert objective.train().loss(examples, UNREAD).item() == pytest.approx(expected.item(), rel=1e-5)

    def test_single_prefixes_are_told_apart_by_their_fold_too(self, objective, examples):
        """Of which half come to a purchase: there the share in the log does not count."""
        features, folds = torch.from_numpy(session_features(examples.sessions)), folds_of(examples.sessions, LENGTH)
        logits = torch.stack([objective.folds[fold](row[None])[0] for fold, row in zip(folds, features, strict=True)])
        expected = torch.nn.functional.binary_cross_entropy_with_logits(
            logits, torch.from_numpy(examples.targets).float()
        )
        loss = objective.train().loss(TaskExamples(examples.sessions, examples.targets), UNREAD)
        assert loss.item() == pytest.approx(expected.item(), rel=1e-5)

    def test_training_leaves_what_was_counted_as_it_is(self, objective, examples):
        before = {name: value.clone() for name, value in objective.head.counting.state_dict().items()}
        stirred(objective.head)
        objective.train().loss(examples, UNREAD).backward()
        assert not [*objective.head.counting.parameters()]
        assert all(torch.equal(value, before[name]) for name, value in objective.head.counting.state_dict().items())
