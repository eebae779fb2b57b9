"""The loop of fine-tuning keeps its best weights, ends when patience runs out, cools down, and can be resumed."""

import math
from functools import partial
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from tests.ubm_embed.training.finetuning.conftest import SEQUENCES
from tests.ubm_embed.training.runs import Cut, cut_at, metrics_of
from ubm_embed.data.batches.session_table import SessionTable
from ubm_embed.data.tasks.examples import TaskExamples
from ubm_embed.data.tasks.task import Task
from ubm_embed.errors import InvalidData, QualityGateFailed
from ubm_embed.training.finetuning.config import FinetuningConfig
from ubm_embed.training.finetuning.finetune import objective_of
from ubm_embed.training.finetuning.finetuner import Finetuner
from ubm_embed.training.finetuning.objectives import Validation
from ubm_embed.training.run import TrainingRun
from ubm_embed.training.step import learning_rate

# A float32 weight near 1 after at most a hundred steps of Adam, each rounded.
ROUNDING = 100 * float(np.finfo(np.float32).eps)


class Slope(nn.Module):
    """Training pushes its one weight up, step by step; validation has its own opinion of where it should be."""

    step_metrics: ClassVar[dict[str, float]] = {}

    def __init__(self, best, spoiled_at=None, spoil=None):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.best, self.spoiled_at, self.spoil, self.taken = best, spoiled_at, spoil, 0

    def epoch(self, dataset, rng):
        return dataset.training(rng)

    def loss(self, examples, rng):
        assert self.training
        self.taken += 1
        return self.spoil(self.weight) if self.taken == self.spoiled_at else -self.weight

    def validate(self, examples):
        assert not self.training
        loss = (self.weight.item() - self.best) ** 2
        return Validation((loss,), {"validation_loss": loss})


class ToyDataset:
    """Eight sessions of one view."""

    def training(self, rng):
        return TaskExamples(SessionTable(np.ones(8, np.uint8), np.zeros(8, np.int32), np.arange(9)), np.zeros(8, int))

    def validation(self, *, max_examples, seed):
        return self.training(None)


class TestFinetuner:
    """The loop, with an objective whose every validation is known."""

    # Steps of 0.1 and less: the rate falls.
    CONFIG = FinetuningConfig(
        task=Task.NIP, epochs=10, batch=8, learning_rate=0.1, warmup=0.0, weight_decay=0.0, precision="float32"
    )

    def tuner(self, slope, run=None, progress=lambda *_: None, **settings):
        tuner = Finetuner(slope, ToyDataset(), self.CONFIG.replace(**settings), progress)
        tuner.train = partial(tuner.train, run)
        return tuner

    @pytest.fixture
    def run(self, tmp_path):
        return TrainingRun.open(tmp_path / "model", {})

    def weight_after(self, step):
        """A gradient of one sign moves Adam by the learning rate."""
        return sum(learning_rate(taken, 10, peak=0.1, warmup=0.0) for taken in range(step))

    def test_a_run_that_only_gets_worse_gives_back_the_weights_it_began_with(self):
        slope = Slope(best=-1.0)
        best = self.tuner(slope).train()
        assert (best.step, best.key, best.evals_since_improvement) == (0, (1.0,), 10)
        assert best.metrics == {"validation_loss": 1.0}
        assert slope.weight.item() == 0.0
        assert not slope.training

    @pytest.mark.parametrize("step", [1, 4, 10])
    def test_keeps_the_weights_of_the_least_validation_loss(self, step):
        slope = Slope(best=self.weight_after(step))
        best = self.tuner(slope).train()
        assert (best.step, best.evals_since_improvement) == (step, 10 - step)
        assert best.key[0] == best.metrics["validation_loss"] == pytest.approx(0.0, abs=ROUNDING**2)
        assert slope.weight.item() == pytest.approx(self.weight_after(step), abs=ROUNDING)

    def test_of_equal_validations_the_first_is_best(self):
        slope = Slope(best=0.0)
        slope.validate = lambda examples: Validation((0.25,), {"validation_loss": slope.weight.item()})
        best = self.tuner(slope).train()
        assert slope.taken == 10
        assert (best.step, best.key, best.evals_since_improvement, slope.weight.item()) == (0, (0.25,), 10, 0.0)
        assert best.to_dict() == {"step": 0, "evals_since_improvement": 10, "validation_loss": 0.0}

    def test_the_weights_with_the_lowest_key_are_kept_whatever_the_metrics(self):
        costs = iter([3.0, 2.0, 1.0, 2.5])
        slope = Slope(best=0.0)
        slope.validate = lambda examples: Validation((next(costs),), {"validation_loss": slope.weight.item()})
        best = self.tuner(slope, max_steps=3).train()
        assert (best.step, best.key) == (2, (1.0,))
        assert best.to_dict() == {"step": 2, "evals_since_improvement": 1, "validation_loss": slope.weight.item()}
        assert slope.weight.item() > 0

    def test_a_validation_that_is_nan_is_never_best(self):
        costs = iter([2.0, math.nan, 1.0, math.nan])
        slope = Slope(best=0.0)
        slope.validate = lambda examples: Validation((next(costs),), {})
        assert self.tuner(slope, max_steps=3).train().step == 2

    @pytest.mark.parametrize(("patience", "last"), [(1, 3), (3, 5), (8, 10), (None, 10)])
    def test_patience_counts_validations_without_a_new_best(self, patience, last):
        slope, taken = Slope(best=self.weight_after(2)), []
        best = self.tuner(slope, progress=lambda what, done, *_: taken.append(done), patience=patience).train()
        assert taken == list(range(1, last + 1))
        assert best.step == 2

    def test_patience_waits_while_hits_or_loss_improve_and_hits_select(self):
        # Misses are fewest after 3 steps, the loss is least after 5.
        evaluations = iter([(0.5, 9.0), (0.4, 8.0), (0.3, 8.5), (0.3, 7.0), (0.4, 6.0), (0.4, 5.0), *[(0.4, 5.0)] * 5])
        slope, taken = Slope(best=0.0), []
        slope.validate = lambda examples: Validation(next(evaluations), {})
        best = self.tuner(slope, progress=lambda what, done, *_: taken.append(done), patience=2).train()
        assert (best.step, best.key, best.evals_since_improvement) == (3, (0.3, 7.0), 2)
        assert taken[-1] == 7

    @pytest.mark.parametrize(
        ("settings", "evaluations"),
        [({}, [0, *range(1, 11)]), ({"validation_steps": 4}, [0, 4, 8, 10]), ({"max_steps": 3}, [0, 1, 2, 3])],
    )
    def test_validates_before_training_then_every_few_steps_and_at_the_end(self, run, settings, evaluations):
        self.tuner(Slope(best=0.5), run, **settings).train()
        metrics = metrics_of(run.folder)
        assert [line["step"] for line in metrics if "validation_loss" in line] == evaluations
        steps = [line for line in metrics if "loss" in line]
        assert [line["step"] for line in steps] == list(range(1, evaluations[-1] + 1))
        total = evaluations[-1]
        expected = [learning_rate(step, total, peak=0.1, warmup=0.0) for step in range(total)]
        assert [line["learning_rate"] for line in steps] == pytest.approx(expected)

    @pytest.mark.parametrize(("every", "expected"), [(4, 4), (10, 10), (100, 10), (None, 1)])
    def test_short_epochs_are_validated_each_but_not_within_ten_steps(self, every, expected):
        tuner = self.tuner(Slope(best=0.5), epochs=30, validation_steps=every, validate_each_epoch=True)
        assert tuner.validation_steps == expected

    def test_tells_its_progress(self):
        entries = []
        self.tuner(Slope(best=0.5), progress=lambda *entry: entries.append(entry)).train()
        assert [entry[:3] for entry in entries] == [("fine-tuning, nip", step, 10) for step in range(1, 11)]
        assert all("loss" in entry[3] for entry in entries)
        assert "validation loss 0.250, best at step 0" in entries[0][3], "the metrics of the last validation"

    @pytest.mark.parametrize("cut", range(1, 11))
    def test_cut_off_it_ends_as_if_it_had_never_been(self, run, cut):
        whole = Slope(best=self.weight_after(6))
        expected = self.tuner(whole, validation_steps=3).train()
        with pytest.raises(Cut):
            self.tuner(Slope(best=whole.best), run, cut_at("fine-tuning", cut), validation_steps=3).train()
        slope = Slope(best=whole.best)
        assert self.tuner(slope, run, validation_steps=3).train() == expected
        assert slope.weight.item() == whole.weight.item()
        assert [line["step"] for line in metrics_of(run.folder) if "loss" in line] == list(range(1, 11))

    def test_patience_that_ran_out_before_a_cut_stays_out(self, run):
        expected = self.tuner(Slope(best=self.weight_after(2)), run, patience=2).train()
        slope, taken = Slope(best=self.weight_after(2)), []
        again = self.tuner(slope, run, lambda *entry: taken.append(entry), patience=2)
        assert again.train() == expected
        assert slope.weight.item() == pytest.approx(self.weight_after(2), abs=ROUNDING)
        assert taken == []

    @pytest.mark.parametrize("step", [1, 5, 10])
    @pytest.mark.parametrize(
        ("what", "spoil"),
        [("loss", lambda weight: weight * math.inf), ("gradient", lambda weight: (weight * 0).sqrt())],
    )
    def test_a_number_that_is_not_finite_stops_the_run_before_the_step_is_taken(self, run, step, what, spoil):
        slope = Slope(best=9.0, spoiled_at=step, spoil=spoil)
        with pytest.raises(QualityGateFailed, match=f"the {what} of step {step} is not finite"):
            self.tuner(slope, run).train()
        assert slope.weight.item() == pytest.approx(self.weight_after(step - 1), abs=ROUNDING)

    def test_a_model_with_nothing_to_train_is_named(self):
        slope = Slope(best=0.0).requires_grad_(False)
        with pytest.raises(InvalidData, match="nothing to train: the model has no session layers"):
            self.tuner(slope)

    @pytest.mark.parametrize("cut", [None, 4, 7])
    def test_an_epoch_shorter_than_the_first_still_gives_every_step_something_to_read(self, run, cut):
        slope, read = Slope(best=9.0), []
        step = slope.loss
        slope.loss = lambda examples, rng: (read.append(len(examples)), step(examples, rng))[1]

        def epoch(dataset, rng):
            # As runs of long sessions are drawn anew, some of them come without a question.
            many = 8 if rng.random() == np.random.default_rng([0, 4, 0]).random() else 3
            return ToyDataset().training(rng).take(np.arange(many))

        slope.epoch = epoch
        settings = {"batch": 2, "max_steps": 10, "validation_steps": 3}
        if cut is not None:
            with pytest.raises(Cut):
                self.tuner(slope, run, cut_at("fine-tuning", cut), **settings).train()
        self.tuner(slope, run, **settings).train()
        assert set(read) == {2}
        assert [line["step"] for line in metrics_of(run.folder) if "loss" in line] == list(range(1, 11))


class TestCooldown:
    """Up, along the peak until validation improves no more, and down to 0."""

    # Validations after 5, 10, 15 ... steps.
    CONFIG = FinetuningConfig(
        task=Task.NIP, epochs=1000, max_steps=100, batch=8, learning_rate=0.1, warmup=0.1, weight_decay=0.0,
        cooldown=0.4, patience=2, validation_steps=5, precision="float32",
    )  # fmt: skip

    @pytest.fixture
    def run(self, tmp_path):
        return TrainingRun.open(tmp_path / "model", {})

    def tuner(self, slope, run=None, progress=lambda *_: None, **settings):
        tuner = Finetuner(slope, ToyDataset(), self.CONFIG.replace(**settings), progress)
        tuner.train = partial(tuner.train, run)
        return tuner

    def rates(self, run):
        return [line["learning_rate"] for line in metrics_of(run.folder) if "loss" in line]

    def best_after(self, steps):
        """Where the weight is then: the rate goes up over 10 steps, and stays."""
        return sum(min(1.0, (step + 1) / 10) * 0.1 for step in range(steps))

    def require_down(self, rates):
        """From the peak in equal steps to the last one before nothing."""
        assert rates[0] < 0.1
        drops = -np.diff([0.1, *rates, 0.0])
        assert drops == pytest.approx(np.full(drops.size, 0.1 / (len(rates) + 1)))

    def test_goes_down_once_patience_runs_out_and_ends_by_itself(self, run):
        best = self.tuner(Slope(best=self.best_after(15)), run).train()
        rates = self.rates(run)
        assert rates[:10] == pytest.approx([0.01 * step for step in range(1, 11)])
        assert rates[10:25] == pytest.approx([0.1] * 15)
        assert len(rates) == 25 + 10, "0.4 of the 25 steps until the second validation without a gain"
        self.require_down(rates[25:])
        assert best.step == 15
        assert [line["step"] for line in metrics_of(run.folder) if "validation_loss" in line] == list(range(0, 36, 5))

    def test_goes_down_from_the_best_weights(self):
        slope, seen = Slope(best=self.best_after(15)), []
        step = slope.loss
        slope.loss = lambda *arguments: (seen.append(slope.weight.item()), step(*arguments))[1]
        self.tuner(slope).train()
        assert seen[24] == pytest.approx(self.best_after(24), rel=10 * ROUNDING)
        assert seen[25] == pytest.approx(self.best_after(15), rel=10 * ROUNDING)

    @pytest.mark.parametrize("patience", [2, None])
    def test_goes_down_in_time_where_every_validation_improves(self, run, patience):
        best = self.tuner(Slope(best=99.0), run, patience=patience).train()
        rates = self.rates(run)
        assert len(rates) == best.step == 100
        assert rates[10:71] == pytest.approx([0.1] * 61)
        assert len(rates[72:]) == pytest.approx(0.4 * 72, abs=1)
        self.require_down(rates[72:])

    def test_validates_at_the_end_wherever_that_is(self, run):
        self.tuner(Slope(best=self.best_after(15)), run, cooldown=0.28).train()
        evaluations = [line["step"] for line in metrics_of(run.folder) if "validation_loss" in line]
        assert evaluations == [0, 5, 10, 15, 20, 25, 30, 32]

    def test_what_is_best_on_the_way_down_is_kept(self):
        costs = iter([5.0, 4.0, 4.5, 4.2, 1.0, 2.0])
        slope = Slope(best=0.0)
        slope.validate = lambda examples: Validation((next(costs),), {})
        best = self.tuner(slope, cooldown=0.6).train()
        assert (best.step, best.evals_since_improvement) == (20, 1)
        assert slope.taken == 15 + 9, "a gain on the way down does not prolong it"

    def test_tells_when_it_will_end_as_soon_as_it_knows(self):
        entries = []
        self.tuner(Slope(best=self.best_after(15)), progress=lambda what, *entry: entries.append(entry[:2])).train()
        assert entries == [(step, 100 if step <= 25 else 35) for step in range(1, 36)]

    # On the way up, along the peak, at its last step, and on the way down, with and without a validation in between.
    @pytest.mark.parametrize("cut", [3, 12, 15, 25, 26, 30, 32, 35])
    def test_cut_off_in_each_part_it_ends_as_if_it_had_never_been(self, run, cut):
        whole = Slope(best=self.best_after(15))
        entries = []
        expected = self.tuner(whole, None, lambda what, *entry: entries.append(entry)).train()
        with pytest.raises(Cut):
            self.tuner(Slope(best=whole.best), run, cut_at("fine-tuning", cut)).train()
        slope, again = Slope(best=whole.best), []
        assert self.tuner(slope, run, lambda what, *entry: again.append(entry)).train() == expected
        assert slope.weight.item() == whole.weight.item()
        saved = cut - 1 - (cut - 1) % 5
        assert again == entries[saved:]
        rates = self.rates(run)
        assert len(rates) == 35
        self.require_down(rates[25:])

    @pytest.mark.parametrize("cut", [70, 73, 80, 99])
    def test_cut_off_where_the_steps_are_up_it_does_too(self, run, cut):
        expected, whole = self.tuner(Slope(best=99.0)).train(), Slope(best=99.0)
        self.tuner(whole).train()
        with pytest.raises(Cut):
            self.tuner(Slope(best=99.0), run, cut_at("fine-tuning", cut)).train()
        slope = Slope(best=99.0)
        assert self.tuner(slope, run).train() == expected
        assert slope.weight.item() == whole.weight.item()
        self.require_down(self.rates(run)[72:])

    def test_done_and_asked_again_takes_no_step(self, run):
        expected = self.tuner(Slope(best=self.best_after(15)), run).train()
        taken = []
        assert (
            self.tuner(Slope(best=self.best_after(15)), run, lambda *entries: taken.append(entries)).train() == expected
        )
        assert taken == []


class TestEmbeddingRate:
    class TwoSlopes(Slope):
        """A weight, and a table of item embeddings."""

        def __init__(self):
            super().__init__(best=99.0)
            self.item_embeddings = nn.Module()
            self.item_embeddings.vectors = nn.Parameter(torch.zeros(2, 3))

        def loss(self, examples, rng):
            return -self.weight - self.item_embeddings.vectors.sum()

    @pytest.mark.parametrize("cooldown", [None, 0.5])
    def test_multiplies_the_steps_of_embeddings(self, cooldown):
        slope = self.TwoSlopes()
        config = TestFinetuner.CONFIG.replace(embedding_rate_multiplier=3.0, cooldown=cooldown, max_gradient_norm=100.0)
        Finetuner(slope, ToyDataset(), config).train()
        assert slope.weight.item() > 0.4
        expected = torch.full((2, 3), 3 * slope.weight.item())
        torch.testing.assert_close(slope.item_embeddings.vectors.detach(), expected, rtol=10 * ROUNDING, atol=0)

    def test_is_that_of_words_and_items_alone(self, corpus, dataset_of, causal):
        config = SEQUENCES.replace(embedding_rate_multiplier=3.0)
        dataset = dataset_of(config)
        _, objective = objective_of(corpus, causal, dataset, config)
        names = {id(weights): name for name, weights in objective.named_parameters()}
        groups = Finetuner(objective, dataset, config).optimizer.param_groups
        fast = [names[id(weights)] for group in groups if group["rate_factor"] == 3.0 for weights in group["params"]]
        slow = [names[id(weights)] for group in groups if group["rate_factor"] == 1.0 for weights in group["params"]]
        assert sorted(name.split("encoder.", 2)[-1] for name in fast) == [
            "embeddings.word_embeddings.weight",
            "item_embeddings.vectors",
        ]
        assert sorted([*fast, *slow]) == sorted(names.values())
