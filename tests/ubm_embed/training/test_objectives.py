"""What fine-tuning minimises, against the formulas written out."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from ubm_embed.data.session_table import SessionTable
from ubm_embed.data.tasks import Examples
from ubm_embed.model.heads import PurchaseIntentionHead, RemainingLengthHead
from ubm_embed.training import objectives
from ubm_embed.training.objectives import NextItem, PurchaseIntention, RemainingLength

PRODUCTS, WIDTH = 7, 4
# Of 0..6 products and 7..8 search phrases.
PREFIXES = ([0, 1], [7, 2, 2], [6], [3, 8, 4, 0, 3])
TARGETS = (2, 5, 0, 6)
REPEATED = (0, 2, 0, 3)  # where a product that is held may be the answer
UNREAD = np.random.default_rng(0)


class ToyTower(nn.Module):
    """A session is the mean of vectors by text row, a product another vector."""

    def __init__(self, temperature=None):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.temperature = temperature
        self.texts = nn.Parameter(torch.randn(PRODUCTS + 2, WIDTH, generator=generator))
        self.vectors = nn.Parameter(torch.randn(PRODUCTS, WIDTH, generator=generator))

    def sessions(self, sessions):
        bounds = zip(sessions.offsets[:-1], sessions.offsets[1:], strict=True)
        return torch.stack([self.texts[sessions.rows[start:stop].astype(int)].mean(dim=0) for start, stop in bounds])

    def products(self, rows):
        return self.vectors[rows]


def table(prefixes=PREFIXES):
    rows = np.array([row for prefix in prefixes for row in prefix], dtype=np.int32)
    return SessionTable(np.ones(rows.size, np.uint8), rows, np.cumsum([0, *map(len, prefixes)]))


def examples(targets=TARGETS, prefixes=PREFIXES):
    return Examples(table(prefixes), np.array(targets))


@torch.no_grad()
def score(tower, prefix, product):
    session = tower.texts[list(prefix)].mean(dim=0)
    vector = tower.vectors[product]
    if tower.temperature is None:
        return float(session @ vector)
    return float(session @ vector / session.norm() / vector.norm()) / tower.temperature


def candidates(prefix, *, repeats):
    return [product for product in range(PRODUCTS) if repeats or product not in prefix]


def next_item_loss(tower, targets, *, repeats=False):
    """Equation 7, product by product."""
    losses = []
    for prefix, target in zip(PREFIXES, targets, strict=True):
        total = sum(math.exp(score(tower, prefix, product)) for product in candidates(prefix, repeats=repeats))
        losses.append(math.log(total) - score(tower, prefix, target))
    return sum(losses) / len(losses)


@pytest.fixture(params=[None, 0.5], ids=["inner product", "cosine"])
def tower(request):
    return ToyTower(request.param)


class TestFullSoftmax:
    def test_is_equation_7_with_held_products_left_out(self, tower):
        loss = NextItem(tower, PRODUCTS).loss(examples(), UNREAD)
        assert loss.item() == pytest.approx(next_item_loss(tower, TARGETS), rel=1e-5)

    def test_with_repeats_they_are_candidates(self, tower):
        loss = NextItem(tower, PRODUCTS, repeats=True).loss(examples(REPEATED), UNREAD)
        assert loss.item() == pytest.approx(next_item_loss(tower, REPEATED, repeats=True), rel=1e-5)

    def test_popularity_changes_nothing(self, tower):
        popular = NextItem(tower, PRODUCTS, popularity=np.arange(PRODUCTS))
        assert popular.loss(examples(), UNREAD).item() == NextItem(tower, PRODUCTS).loss(examples(), UNREAD).item()

    @pytest.mark.parametrize("negatives", [None, 5])
    def test_gradients_reach_the_tower(self, tower, negatives):
        NextItem(tower, PRODUCTS, negatives=negatives).loss(examples(), np.random.default_rng(0)).backward()
        assert tower.texts.grad[[0, 1, 2, 3, 4, 6, 7, 8]].abs().sum(dim=1).min() > 0
        assert tower.vectors.grad[list(TARGETS)].abs().sum(dim=1).min() > 0
        assert torch.isfinite(tower.vectors.grad).all()


class TestSampledSoftmax:
    POPULARITY = np.array([9, 1, 4, 0, 2, 0, 4])

    def sampled(self, tower, negatives, **settings):
        return NextItem(tower, PRODUCTS, popularity=self.POPULARITY, negatives=negatives, **settings)

    def full_sum(self, tower, prefix, *, repeats=False):
        return sum(math.exp(score(tower, prefix, product)) for product in candidates(prefix, repeats=repeats))

    def test_its_partition_function_is_unbiased(self, tower):
        # exp(loss) is the sampled sum over exp(score of the answer), which is there by right and counted once.
        objective, one = self.sampled(tower, 3), examples([2], [PREFIXES[0]])
        rng = np.random.default_rng(0)
        with torch.no_grad():
            found = [math.exp(objective.loss(one, rng).item()) for _ in range(500)]
        expected = self.full_sum(tower, PREFIXES[0]) / math.exp(score(tower, PREFIXES[0], 2))
        error = np.std(found) / math.sqrt(len(found))
        assert error < 0.1 * expected
        assert np.mean(found) == pytest.approx(expected, abs=4 * error)

    def test_with_the_answers_of_others_too(self, tower):
        objective, rng = self.sampled(tower, 2), np.random.default_rng(1)
        scores = np.exp([score(tower, [8], product) for product in range(PRODUCTS)])
        found = []
        for _ in range(2500):
            others = rng.choice(PRODUCTS, 4, p=objective.popularity)
            rows, correction = objective._candidates(np.array([1, *others]), rng)
            weights = np.where(rows == 1, 1.0, np.exp(correction))
            found.append((scores[rows] * weights).sum())
        error = np.std(found) / math.sqrt(len(found))
        assert error < 0.05 * scores.sum()
        assert np.mean(found) == pytest.approx(scores.sum(), abs=4 * error)

    @pytest.mark.parametrize(("targets", "repeats"), [(TARGETS, False), (REPEATED, True)])
    def test_with_many_draws_it_is_the_full_one(self, tower, targets, repeats):
        expected = next_item_loss(tower, targets, repeats=repeats)
        errors = []
        for negatives in (10, 1_000, 100_000):
            objective = self.sampled(tower, negatives, repeats=repeats)
            rng = np.random.default_rng(2)
            found = [objective.loss(examples(targets), rng).item() for _ in range(20)]
            errors.append(np.abs(np.array(found) - expected).mean())
        assert errors[0] > errors[1] > errors[2]
        assert errors[2] < 0.01

    def test_a_judgement_counts_no_answers_as_draws(self, tower):
        objective = self.sampled(tower, 2)
        targets, draws = np.array([6, 6, 3]), [0, 2]

        class Fixed:
            def choice(self, *_, **__):
                return np.array(draws)

        rows, correction = objective.eval()._candidates(targets, Fixed())
        assert rows.tolist() == [0, 2, 3, 6]
        expected = [-math.log(2 * objective.proposal[row]) if row in draws else -math.inf for row in rows]
        assert correction == pytest.approx(expected, rel=1e-5)
        _, correction = objective.train()._candidates(targets, Fixed())
        counts = np.array([1, 1, 1, 2]) / (2 * objective.proposal[rows] + 2 * objective.popularity[rows])
        assert correction == pytest.approx(np.log(counts), rel=1e-5)

    def test_a_judged_question_does_not_depend_on_the_others(self, tower):
        objective = self.sampled(tower, 3).eval()
        together = objective.loss(examples(), np.random.default_rng(4)).item()
        alone = [
            objective.loss(examples([target], [prefix]), np.random.default_rng(4)).item()
            for target, prefix in zip(TARGETS, PREFIXES, strict=True)
        ]
        assert together == pytest.approx(np.mean(alone), rel=1e-5)

    def test_the_same_generator_draws_the_same(self, tower):
        objective = self.sampled(tower, 3)
        first, same, other = (objective.loss(examples(), np.random.default_rng(seed)).item() for seed in (0, 0, 1))
        assert first == same != other

    def test_a_product_that_was_never_an_answer_is_pushed_away_too(self, tower):
        # Half of the draws are uniform.
        rows, _ = self.sampled(tower, 200)._candidates(np.array([0]), np.random.default_rng(0))
        assert rows.tolist() == list(range(PRODUCTS))


class TestNextItemAnswers:
    @pytest.mark.parametrize("at_once", [1, 3, 512])
    def test_are_the_scores_of_all_products_and_none_of_held_ones(self, tower, monkeypatch, at_once):
        monkeypatch.setattr(objectives, "_AT_ONCE", at_once)
        found = NextItem(tower, PRODUCTS, negatives=2).answers(table())
        assert found.shape == (len(PREFIXES), PRODUCTS)
        for row, prefix in enumerate(PREFIXES):
            for product in range(PRODUCTS):
                expected = -math.inf if product in prefix else score(tower, prefix, product)
                assert found[row, product] == pytest.approx(expected, rel=1e-4)

    @torch.no_grad()
    def test_are_scores_against_the_vectors_that_were_given(self, tower):
        objective = NextItem(tower, PRODUCTS)
        vectors, some = objective.product_vectors(), np.array([1, 4, 6])
        assert torch.equal(vectors, tower.vectors)
        found = objective.scores(table(), some, vectors[some]).numpy()
        assert found == pytest.approx(objective.answers(table())[:, some], rel=1e-5)

    def test_with_repeats_all_have_one(self, tower):
        assert np.isfinite(NextItem(tower, PRODUCTS, repeats=True).answers(table())).all()


class TestPurchaseIntention:
    BOUGHT = np.array([True, False, False, True])

    @pytest.fixture
    def objective(self):
        torch.manual_seed(0)
        head = PurchaseIntentionHead(WIDTH)
        head.purchase_share.fill_(0.1)
        return PurchaseIntention(ToyTower(), head)

    def test_is_binary_cross_entropy(self, objective):
        with torch.no_grad():
            balanced = torch.sigmoid(objective.head(objective.tower.sessions(table()))).tolist()
        expected = [-math.log(p if bought else 1 - p) for p, bought in zip(balanced, self.BOUGHT, strict=True)]
        loss = objective.loss(examples(self.BOUGHT), UNREAD)
        assert loss.item() == pytest.approx(sum(expected) / 4, rel=1e-5)

    def test_gradients_reach_tower_and_head(self, objective):
        objective.loss(examples(self.BOUGHT), UNREAD).backward()
        assert objective.tower.texts.grad.abs().max() > 0
        assert all(weights.grad.abs().max() > 0 for weights in objective.head.parameters())

    @pytest.mark.parametrize("at_once", [1, 3, 512])
    def test_answers_are_probabilities_in_the_world_s_odds(self, objective, monkeypatch, at_once):
        monkeypatch.setattr(objectives, "_AT_ONCE", at_once)
        with torch.no_grad():
            balanced = torch.sigmoid(objective.head(objective.tower.sessions(table()))).numpy()
        expected = balanced * 0.1 / (balanced * 0.1 + (1 - balanced) * 0.9)
        assert objective.answers(table()) == pytest.approx(expected, rel=1e-4)


class TestRemainingLength:
    LENGTHS = np.array([1, 12, 4, 4])

    @pytest.fixture
    def objective(self):
        torch.manual_seed(0)
        head = RemainingLengthHead(WIDTH)
        head.mean.fill_(5.0)
        head.spread.fill_(4.0)
        return RemainingLength(ToyTower(), head)

    def test_is_the_squared_error_in_units_of_the_spread(self, objective):
        with torch.no_grad():
            found = objective.head(objective.tower.sessions(table())).tolist()
        expected = [((5 + 4 * one - length) / 4) ** 2 for one, length in zip(found, self.LENGTHS, strict=True)]
        loss = objective.loss(examples(self.LENGTHS), UNREAD)
        assert loss.item() == pytest.approx(sum(expected) / 4, rel=1e-5)

    def test_gradients_reach_tower_and_head(self, objective):
        objective.loss(examples(self.LENGTHS), UNREAD).backward()
        assert objective.tower.texts.grad.abs().max() > 0
        assert all(weights.grad.abs().max() > 0 for weights in objective.head.parameters())

    def test_answers_are_lengths(self, objective):
        with torch.no_grad():
            expected = (5 + 4 * objective.head(objective.tower.sessions(table()))).clamp(min=0)
        assert objective.answers(table()) == pytest.approx(expected.numpy(), rel=1e-5)
