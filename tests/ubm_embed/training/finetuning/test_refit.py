"""A refit learns from the validation part too, for as long as validation found best; evaluation knows about it."""

import pytest

from tests.ubm_embed.training.finetuning.conftest import BOTH, NIP
from tests.ubm_embed.training.runs import Cut, cut_at, metrics_of, without_times
from ubm_embed.data.tasks.split import Split, is_refit
from ubm_embed.data.tasks.task import Task
from ubm_embed.evaluation.evaluation import evaluate
from ubm_embed.training.finetuning.finetune import finetune

REFIT = BOTH.replace(refit=True, max_steps=60, validation_steps=10)


@pytest.fixture(scope="module")
def whole(corpus, base, tmp_path_factory):
    """A model that was refitted, and its metrics."""
    folder = tmp_path_factory.mktemp("refit") / "model"
    checkpoint = finetune(corpus, base, folder, REFIT)
    assert checkpoint.record["finetuning"]["step"] > 0, "a run that gains nothing is not trained again"
    return checkpoint, without_times(metrics_of(folder))


def test_takes_as_many_epochs_as_validation_found_best(whole):
    checkpoint, metrics = whole
    tuned = checkpoint.record["finetuning"]
    steps = [line["step"] for line in metrics if line.get("refit") and "loss" in line]
    assert steps == list(range(1, tuned["refit_steps"] + 1))
    # Half of the sessions train at first, then three quarters of them.
    assert tuned["step"] <= tuned["refit_steps"] <= 2 * tuned["step"]
    assert metrics[-1]["steps"] == tuned["refit_steps"]


def test_is_another_model_than_that_of_the_training_part(tune, base, whole, tmp_path):
    before = tune(REFIT.replace(refit=False), base=base, out=tmp_path / "before")
    assert (is_refit(before.record), is_refit(whole[0].record)) == (False, True)
    assert whole[0].model_id != before.model_id
    assert before.record["finetuning"]["step"] == whole[0].record["finetuning"]["step"]


def test_counts_weigh_what_they_did_before_it(tune, base, whole, tmp_path):
    before = tune(REFIT.replace(refit=False), base=base, out=tmp_path / "before")
    assert whole[0].count_weights == before.count_weights


def test_baselines_count_the_validation_part_too(whole, corpus, tokenized):
    split = Split.from_record(whole[0].record)
    parts, refit = split.parts(tokenized), split.parts(tokenized, refit=True)
    evaluation = evaluate(Task.NIP, corpus, whole[0], rounds=20)
    assert evaluation.leaks.training == len(refit.training) == len(parts.training) + len(parts.validation.sessions)
    assert evaluation.leaks.validation == 0
    assert evaluation.leaks.test == len(parts.test.sessions)
    assert whole[0].record["leaks"]["training"] == evaluation.leaks.training


def test_is_compared_with_a_model_that_was_not_refitted(whole, corpus, tune, base, tmp_path):
    before = tune(REFIT.replace(refit=False), base=base, out=tmp_path / "before")
    one = evaluate(Task.NIP, corpus, whole[0], against=before, rounds=20)
    other = evaluate(Task.NIP, corpus, before, against=whole[0], rounds=20)
    assert one.against == before.model_id
    assert one.leaks == other.leaks, "what training may have read is the same, whichever is named first"
    names = {"UBM": "the other model", "the other model": "UBM"}
    metrics = {row.name: row.metrics for row in other.rows}
    for row in one.rows:
        first = next((name for name in sorted(names, key=len, reverse=True) if row.name.startswith(name)), None)
        swapped = row.name if first is None else row.name.replace(first, names[first], 1)
        assert row.metrics == metrics[swapped]


def test_tuned_again_on_the_same_corpus_it_warns_that_validation_was_read(whole, tune, tmp_path):
    told: list[str] = []
    tune(REFIT.replace(refit=False, max_steps=2), base=whole[0], out=tmp_path / "again", notice=told.append)
    assert len(told) == 1
    assert "refitted with the validation part" in told[0]


@pytest.mark.parametrize("steps_of_the_refit", [1, 2])
def test_ends_as_if_it_had_never_been_cut(tune, base, out, whole, steps_of_the_refit):
    with pytest.raises(Cut):
        tune(REFIT, base=base, progress=cut_at("fine-tuning, nip, refit", steps_of_the_refit))
    assert not out.exists()
    assert tune(REFIT, base=base, resume=True).model_id == whole[0].model_id
    assert without_times(metrics_of(out)) == whole[1]


def test_leaves_out_what_training_only_made_worse(tune):
    checkpoint = tune(NIP.replace(refit=True, learning_rate=10.0))
    assert checkpoint.record["finetuning"]["step"] == 0
    assert checkpoint.record["finetuning"]["refit_steps"] == 0
