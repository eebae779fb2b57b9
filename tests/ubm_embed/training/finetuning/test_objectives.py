"""What fine-tuning minimises, against the formulas written out."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from ubm_embed.data.batches.session_table import SessionTable
from ubm_embed.data.tasks.examples import TargetSequences, TaskExamples
from ubm_embed.evaluation.uniformity import alignment, uniformity
from ubm_embed.model.heads import PurchaseIntentionHead, RemainingLengthHead
from ubm_embed.training.finetuning.head_objectives import PurchaseIntention, RemainingLength
from ubm_embed.training.finetuning.objectives import NextItem

PRODUCTS, WIDTH = 7, 4
# Of 0..6 products and 7..8 search phrases.
PREFIXES = ([0, 1], [7, 2, 2], [6], [3, 8, 4, 0, 3])
TARGETS = (2, 5, 0, 6)
REPEATED = (0, 2, 0, 3)  # where a product that is held may be the answer
UNREAD = np.random.default_rng(0)
# A handful of float32 operations on sums of at most seven terms, with exp and log among them.
ROUNDING = 100 * float(np.finfo(np.float32).eps)


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
    return TaskExamples(table(prefixes), np.array(targets))


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
        assert loss.item() == pytest.approx(next_item_loss(tower, TARGETS), rel=ROUNDING)

    def test_with_repeats_they_are_candidates(self, tower):
        loss = NextItem(tower, PRODUCTS, repeats=True).loss(examples(REPEATED), UNREAD)
        assert loss.item() == pytest.approx(next_item_loss(tower, REPEATED, repeats=True), rel=ROUNDING)

    def test_popularity_changes_nothing(self, tower):
        popular = NextItem(tower, PRODUCTS, popularity=np.arange(PRODUCTS))
        assert popular.loss(examples(), UNREAD).item() == NextItem(tower, PRODUCTS).loss(examples(), UNREAD).item()

    @pytest.mark.parametrize("negatives", [None, 5])
    def test_gradients_reach_the_tower(self, tower, negatives):
        NextItem(tower, PRODUCTS, negatives=negatives).loss(examples(), np.random.default_rng(0)).backward()
        assert tower.texts.grad[[0, 1, 2, 3, 4, 6, 7, 8]].abs().sum(dim=1).min() > 0
        assert tower.vectors.grad[list(TARGETS)].abs().sum(dim=1).min() > 0
        assert torch.isfinite(tower.vectors.grad).all()


class TestStepMetrics:
    """What a loss in training leaves for the log."""

    def test_of_a_full_softmax(self, tower):
        objective = NextItem(tower, PRODUCTS)
        objective.loss(examples(), UNREAD)
        compared = [len(candidates(prefix, repeats=False)) for prefix in PREFIXES]
        found = objective.step_metrics
        assert (found["negatives"], found["num_masked"]) == (sum(compared) - 4, 4 * PRODUCTS - sum(compared))
        assert found["candidates"] == sum(compared) / 4
        assert found["loss_chance"] == math.log(PRODUCTS)
        with torch.no_grad():
            sessions, targets = tower.sessions(table()).numpy(), tower.vectors[list(TARGETS)].numpy()
        assert found["uniformity"] == pytest.approx(uniformity(sessions), abs=ROUNDING)
        assert found["alignment"] == pytest.approx(alignment(sessions, targets), abs=ROUNDING)

    def test_all_candidates_alike_lose_the_chance_level(self, tower):
        with torch.no_grad():
            tower.vectors.copy_(tower.vectors[:1].expand_as(tower.vectors))
        objective = NextItem(tower, PRODUCTS, repeats=True)
        loss = objective.loss(examples(REPEATED), UNREAD).item()
        assert loss == pytest.approx(objective.step_metrics["loss_chance"], rel=ROUNDING)
        assert objective.step_metrics["candidates"] == PRODUCTS

    def test_a_sample_is_counted_as_it_was_drawn(self, tower):
        objective = NextItem(tower, PRODUCTS, negatives=1, repeats=True)
        objective.loss(examples(), np.random.default_rng(0))
        assert 4 <= objective.step_metrics["candidates"] <= 5, "the four targets, and one draw"
        assert objective.step_metrics["loss_chance"] == math.log(PRODUCTS)

    @pytest.mark.parametrize(
        ("kind", "head", "chance"),
        [(PurchaseIntention, PurchaseIntentionHead, math.log(2)), (RemainingLength, RemainingLengthHead, 1.0)],
    )
    def test_of_a_head(self, kind, head, chance):
        tower = ToyTower()
        objective = kind(tower, head(WIDTH))
        objective.loss(examples(np.array([0, 1, 1, 0])), UNREAD)
        assert objective.step_metrics["loss_chance"] == chance
        with torch.no_grad():
            expected = uniformity(tower.sessions(table()).numpy())
        assert objective.step_metrics["uniformity"] == pytest.approx(expected, abs=ROUNDING)

    def test_of_one_session_has_no_uniformity(self, tower):
        objective = NextItem(tower, PRODUCTS)
        objective.loss(examples(TARGETS[:1], PREFIXES[:1]), UNREAD)
        assert "uniformity" not in objective.step_metrics

    def test_a_validation_leaves_none(self, tower):
        objective = NextItem(tower, PRODUCTS).eval()
        objective.validate(examples())
        assert objective.step_metrics == {}


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
            others = rng.choice(PRODUCTS, 4, p=objective.sampler.popularity)
            rows, correction = drawn(objective, [1, *others], rng)
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

    def test_validation_counts_no_targets_as_draws(self, tower):
        objective = self.sampled(tower, 2)
        targets, draws = np.array([6, 6, 3]), [0, 2]

        class Fixed:
            def choice(self, *_, **__):
                return np.array(draws)

        rows, correction = drawn(objective.eval(), targets, Fixed())
        assert rows.tolist() == [0, 2, 3, 6]
        expected = [-math.log(2 * objective.sampler.proposal[row]) if row in draws else -math.inf for row in rows]
        assert correction == pytest.approx(expected, rel=ROUNDING)
        _, correction = drawn(objective.train(), targets, Fixed())
        counts = np.array([1, 1, 1, 2]) / (
            2 * objective.sampler.proposal[rows] + 2 * objective.sampler.popularity[rows]
        )
        assert correction == pytest.approx(np.log(counts), rel=ROUNDING)

    def test_an_example_of_validation_does_not_depend_on_the_others(self, tower):
        objective = self.sampled(tower, 3).eval()
        together = objective.loss(examples(), np.random.default_rng(4)).item()
        alone = [
            objective.loss(examples([target], [prefix]), np.random.default_rng(4)).item()
            for target, prefix in zip(TARGETS, PREFIXES, strict=True)
        ]
        assert together == pytest.approx(np.mean(alone), rel=ROUNDING)

    def test_the_same_generator_draws_the_same(self, tower):
        objective = self.sampled(tower, 3)
        first, same, other = (objective.loss(examples(), np.random.default_rng(seed)).item() for seed in (0, 0, 1))
        assert first == same != other

    def test_a_product_that_was_never_an_answer_is_pushed_away_too(self, tower):
        # Half of the draws are uniform.
        rows, _ = drawn(self.sampled(tower, 200), [0], np.random.default_rng(0))
        assert rows.tolist() == list(range(PRODUCTS))


def drawn(objective, targets, rng):
    """Candidates, and the logarithm of how often each was drawn over how often that was to be expected."""
    targets = np.asarray(targets)
    examples = TaskExamples(table([[0]] * targets.size), targets)
    draw = objective.sampler.draw(examples, rng, training=objective.training)
    return draw.candidates, draw.correction(targets.size)[0].numpy()


class CausalToyTower(ToyTower):
    """One that reads all prefixes of a session at once."""

    max_interactions = 5

    def prefixes(self, sessions):
        starts = sessions.offsets[sessions.session_of()]
        return self.sessions(sessions.slices(starts, np.arange(sessions.rows.size) + 1))


class TestAllPositions:
    # [0, 1 | 2], [0, 1, 7, 2 | 6], [7, 3 | 5]
    SEQUENCES = TargetSequences(table([[0, 1, 7, 2], [7, 3]]), np.array([1, 3, 5]), np.array([2, 6, 5]))
    PREFIXES, TARGETS = ([0, 1], [0, 1, 7, 2], [7, 3]), (2, 6, 5)

    def test_with_all_products_it_is_equation_7_for_each_place(self, tower):
        causal = CausalToyTower(tower.temperature)
        losses = []
        for prefix, target in zip(self.PREFIXES, self.TARGETS, strict=True):
            total = sum(math.exp(score(causal, prefix, product)) for product in candidates(prefix, repeats=False))
            losses.append(math.log(total) - score(causal, prefix, target))
        loss = NextItem(causal, PRODUCTS, all_positions=True).loss(self.SEQUENCES, UNREAD)
        assert loss.item() == pytest.approx(np.mean(losses), rel=ROUNDING)

    @pytest.mark.parametrize("repeats", [False, True])
    @pytest.mark.parametrize("training", [False, True])
    def test_of_a_sample_it_is_the_mean_over_questions_with_the_same_candidates(self, tower, repeats, training):
        causal = CausalToyTower(tower.temperature)
        popularity = np.array([9, 1, 4, 0, 2, 1, 4])
        objective = NextItem(
            causal, PRODUCTS, popularity=popularity, negatives=4, repeats=repeats, all_positions=True
        ).train(training)
        draw = objective.sampler.draw(self.SEQUENCES, np.random.default_rng(3), training=training)
        rows, losses = draw.candidates, []
        for prefix, target, own in zip(self.PREFIXES, self.TARGETS, ([2, 6], [2, 6], [5]), strict=True):
            weights = {target: 1.0}
            for row, count, expected in zip(rows.tolist(), draw.counts, draw.expected, strict=True):
                theirs = training and row in own  # what one place of a session comes to is no draw for another
                count, expected = count - theirs, expected - theirs * (len(own) - 1) * objective.sampler.popularity[row]
                weights.setdefault(row, count / expected)
            able = [row for row in rows.tolist() if row in candidates(prefix, repeats=repeats)]
            total = sum(weights[row] * math.exp(score(causal, prefix, row)) for row in able)
            losses.append(math.log(total) - score(causal, prefix, target))
        loss = objective.loss(self.SEQUENCES, np.random.default_rng(3))
        assert loss.item() == pytest.approx(np.mean(losses), rel=ROUNDING)
        if not training:
            one_by_one = objective.loss(self.SEQUENCES.examples, np.random.default_rng(3))
            assert loss.item() == pytest.approx(one_by_one.item(), rel=ROUNDING)

    def test_what_a_session_comes_to_later_weighs_as_much_as_anything_else(self, tower):
        """On average one, however rare: only draws and the answers of others count."""
        causal, rng = CausalToyTower(tower.temperature), np.random.default_rng(5)
        popularity = np.array([9, 1, 4, 0, 2, 1, 4])
        objective = NextItem(causal, PRODUCTS, popularity=popularity, negatives=3, all_positions=True).train()
        weights = []
        for _ in range(4000):
            other = int(rng.choice(PRODUCTS, p=objective.sampler.popularity))
            sequences = TargetSequences(table([[0, 1, 7, 2], [7, 3]]), np.array([1, 3, 5]), np.array([1, 5, other]))
            draw = objective.sampler.draw(sequences, rng, training=True)
            correction = draw.correction(3)
            weights.append(float(correction[0, np.searchsorted(draw.candidates, 5)].exp()))
        error = np.std(weights) / math.sqrt(len(weights))
        assert error < 0.05
        assert np.mean(weights) == pytest.approx(1.0, abs=4 * error)

    def test_gradients_equal_those_of_the_questions_one_by_one(self):
        gradients = []
        for examples in (self.SEQUENCES, self.SEQUENCES.examples):
            causal = CausalToyTower()
            NextItem(causal, PRODUCTS, all_positions=True).loss(examples, UNREAD).backward()
            gradients.append((causal.texts.grad, causal.vectors.grad))
        for together, alone in zip(*gradients, strict=True):
            torch.testing.assert_close(together, alone)

    @pytest.mark.parametrize(("all_positions", "examples"), [(False, "training"), (True, "sequences of 5")])
    def test_an_epoch_is_sequences_of_what_the_tower_reads_or_examples_one_by_one(self, all_positions, examples):
        class Dataset:
            def training(self, rng):
                return "training"

            def sequences(self, rng, *, limit):
                return f"sequences of {limit}"

        assert NextItem(CausalToyTower(), PRODUCTS, all_positions=all_positions).epoch(Dataset(), UNREAD) == examples


class Scores(nn.Module):
    """A tower under which a session's scores are the row of a table that its first text names."""

    temperature = None

    def __init__(self, scores):
        super().__init__()
        self.table = torch.as_tensor(scores, dtype=torch.float32)

    def sessions(self, sessions):
        return self.table[sessions.rows[sessions.offsets[:-1]].astype(int)]

    def products(self, rows):
        return torch.eye(self.table.shape[1])[rows]


class TestNextItemValidation:
    MANY = 24

    def examples_of(self, seed):
        """Scores of few values, so that ties are common, and a question for each row of them."""
        rng = np.random.default_rng(seed)
        scores = rng.integers(0, 4, (self.MANY, self.MANY)).astype(float)
        prefixes = [[row, *rng.integers(self.MANY, size=rng.integers(0, 9))] for row in range(self.MANY)]
        targets = [int(rng.choice(np.setdiff1d(np.arange(self.MANY), prefix))) for prefix in prefixes]
        return scores, prefixes, targets

    @pytest.mark.parametrize("batch", [1, 5, 512])
    @pytest.mark.parametrize("repeats", [False, True])
    @pytest.mark.parametrize("seed", range(4))
    def test_is_the_share_of_misses_with_ties_against_the_target(self, batch, repeats, seed):
        scores, prefixes, targets = self.examples_of(seed)
        hits, losses = [], []
        for row, (prefix, target) in enumerate(zip(prefixes, targets, strict=True)):
            able = [product for product in range(self.MANY) if repeats or product not in prefix]
            better = [product for product in able if product != target and scores[row][product] >= scores[row][target]]
            hits.append(len(better) < 10)
            losses.append(math.log(sum(math.exp(scores[row][product]) for product in able)) - scores[row][target])
        assert 0 < np.mean(hits) < 1
        # Draws are for training; validation compares the target with every product.
        objective = NextItem(Scores(scores), self.MANY, negatives=2, repeats=repeats, batch=batch).eval()
        result = objective.validate(TaskExamples(table(prefixes), np.array(targets)))
        assert result.metrics == pytest.approx(
            {"validation_hit_at_10": np.mean(hits), "validation_loss": np.mean(losses)}
        )
        assert result.key == (pytest.approx(1 - np.mean(hits)), result.metrics["validation_loss"])

    def test_in_a_large_catalogue_targets_are_ranked_among_some_products_the_same_each_time(self):
        scores, prefixes, targets = self.examples_of(0)
        examples = TaskExamples(table(prefixes), np.array(targets))

        def among(products, examples=examples):
            return NextItem(Scores(scores), self.MANY, max_validation_products=products).validate(examples)

        few = among(3, TaskExamples(table(prefixes[:4]), np.array(targets[:4])))
        assert few.metrics["validation_hit_at_10"] == 1.0, "no more than 7 products are ranked"
        among_all, among_most = among(self.MANY), among(self.MANY - 1)
        assert among_most == among(self.MANY - 1)
        assert among_most.metrics["validation_hit_at_10"] >= among_all.metrics["validation_hit_at_10"]

    def test_one_score_for_all_hits_nothing(self):
        result = NextItem(Scores(np.ones((1, self.MANY))), self.MANY).validate(
            TaskExamples(table([[0]]), np.array([3]))
        )
        assert (result.key[0], result.metrics["validation_hit_at_10"]) == (1.0, 0.0)

    def test_scores_of_nan_hit_nothing(self):
        spoiled = np.full((1, self.MANY), np.nan)
        result = NextItem(Scores(spoiled), self.MANY).validate(TaskExamples(table([[0]]), np.array([3])))
        assert result.key[0] == 1.0


class TestNextItemPredictions:
    @pytest.mark.parametrize("batch", [1, 3, 512])
    def test_are_the_scores_of_all_products_but_held_ones(self, tower, batch):
        found = NextItem(tower, PRODUCTS, negatives=2, batch=batch).predict(table())
        assert found.shape == (len(PREFIXES), PRODUCTS)
        for row, prefix in enumerate(PREFIXES):
            for product in range(PRODUCTS):
                expected = -math.inf if product in prefix else score(tower, prefix, product)
                assert found[row, product] == pytest.approx(expected, rel=10 * ROUNDING)

    @torch.no_grad()
    def test_are_scores_against_the_vectors_that_were_given(self, tower):
        objective = NextItem(tower, PRODUCTS)
        vectors, some = objective.product_vectors(), np.array([1, 4, 6])
        assert torch.equal(vectors, tower.vectors)
        found = objective.scores(table(), some, vectors[some]).numpy()
        assert found == pytest.approx(objective.predict(table())[:, some], rel=ROUNDING)

    def test_with_repeats_all_have_one(self, tower):
        assert np.isfinite(NextItem(tower, PRODUCTS, repeats=True).predict(table())).all()


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
        assert loss.item() == pytest.approx(sum(expected) / 4, rel=ROUNDING)

    def test_gradients_reach_tower_and_head(self, objective):
        objective.loss(examples(self.BOUGHT), UNREAD).backward()
        assert objective.tower.texts.grad.abs().max() > 0
        assert all(weights.grad.abs().max() > 0 for weights in objective.head.parameters())

    @pytest.mark.parametrize("batch", [1, 3, 512])
    def test_validation_is_the_mean_loss(self, objective, batch):
        objective.batch = batch
        result = objective.validate(examples(self.BOUGHT))
        assert result.key[0] == pytest.approx(objective.loss(examples(self.BOUGHT), UNREAD).item(), rel=ROUNDING)
        assert result.metrics == {"validation_loss": result.key[0]}

    @pytest.mark.parametrize("batch", [1, 3, 512])
    def test_predictions_are_probabilities_in_the_odds_of_the_world(self, objective, batch):
        objective.batch = batch
        with torch.no_grad():
            balanced = torch.sigmoid(objective.head(objective.tower.sessions(table()))).numpy()
        expected = balanced * 0.1 / (balanced * 0.1 + (1 - balanced) * 0.9)
        assert objective.predict(table()) == pytest.approx(expected, rel=10 * ROUNDING)


class TestRemainingLength:
    LENGTHS = np.array([1, 12, 4, 4])

    @pytest.fixture
    def objective(self):
        torch.manual_seed(0)
        head = RemainingLengthHead(WIDTH)
        head.mean.fill_(5.0)
        head.std.fill_(4.0)
        return RemainingLength(ToyTower(), head)

    def test_is_the_squared_error_in_units_of_the_spread(self, objective):
        with torch.no_grad():
            found = objective.head(objective.tower.sessions(table())).tolist()
        expected = [((5 + 4 * one - length) / 4) ** 2 for one, length in zip(found, self.LENGTHS, strict=True)]
        loss = objective.loss(examples(self.LENGTHS), UNREAD)
        assert loss.item() == pytest.approx(sum(expected) / 4, rel=ROUNDING)

    def test_gradients_reach_tower_and_head(self, objective):
        objective.loss(examples(self.LENGTHS), UNREAD).backward()
        assert objective.tower.texts.grad.abs().max() > 0
        assert all(weights.grad.abs().max() > 0 for weights in objective.head.parameters())

    @pytest.mark.parametrize("batch", [1, 3, 512])
    def test_validation_is_the_mean_loss(self, objective, batch):
        objective.batch = batch
        result = objective.validate(examples(self.LENGTHS))
        assert result.key[0] == pytest.approx(objective.loss(examples(self.LENGTHS), UNREAD).item(), rel=ROUNDING)
        assert result.metrics == {"validation_loss": result.key[0]}

    def test_predictions_are_lengths(self, objective):
        with torch.no_grad():
            expected = (5 + 4 * objective.head(objective.tower.sessions(table()))).clamp(min=0)
        assert objective.predict(table()) == pytest.approx(expected.numpy(), rel=ROUNDING)
