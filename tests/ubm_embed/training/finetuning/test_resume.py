"""A run that was cut off ends as if it had never been; what cannot be trained is refused and leaves nothing behind."""

import re
from dataclasses import replace

import pytest

from tests.ubm_embed.training.finetuning.conftest import NIP, PIP, RLP, SEQUENCES
from tests.ubm_embed.training.runs import Cut, cut_at, die, metrics_of, without_times
from ubm_embed import outputs
from ubm_embed.data.corpus import Corpus
from ubm_embed.errors import Conflict, InvalidData, NotFound, QualityGateFailed
from ubm_embed.model.checkpoint import Checkpoint, save_checkpoint
from ubm_embed.model.folder import copy_checkpoint
from ubm_embed.training.finetuning import finetune as finetuning
from ubm_embed.training.finetuning.finetune import finetune


@pytest.fixture(scope="module")
def whole(corpus, base, tmp_path_factory):
    """A run without a cut: its model id and its metrics."""
    folder = tmp_path_factory.mktemp("whole") / "model"
    checkpoint = finetune(corpus, base, folder, NIP)
    assert checkpoint.record["finetuning"]["step"] > 0, "a run that gains nothing would be no test"
    return checkpoint.model_id, without_times(metrics_of(folder))


class TestResume:
    @pytest.mark.parametrize("step", [1, 2, 3, 6, 7])
    def test_ends_as_if_it_had_never_been_cut(self, tune, out, whole, step):
        with pytest.raises(Cut):
            tune(progress=cut_at("fine-tuning", step))
        assert not out.exists()
        assert tune(resume=True).model_id == whole[0]
        assert without_times(metrics_of(out)) == whole[1]
        assert not out.with_name("model.training").exists()

    def test_can_be_cut_more_than_once(self, tune, whole):
        with pytest.raises(Cut):
            tune(progress=cut_at("fine-tuning", 3))
        for step in (4, 5, 7):
            with pytest.raises(Cut):
                tune(progress=cut_at("fine-tuning", step), resume=True)
        assert tune(resume=True).model_id == whole[0]

    @pytest.mark.parametrize(("module", "name"), [(finetuning, "save_checkpoint"), (outputs, "_replace_folder")])
    def test_trained_to_the_end_but_not_written(self, tune, out, whole, monkeypatch, module, name):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, die)
            with pytest.raises(Cut):
                tune()
        taken = []
        found = tune(resume=True, progress=lambda what, *_: taken.append(what))
        assert found.model_id == whole[0]
        assert without_times(metrics_of(out)) == whole[1]
        assert "fine-tuning, nip" not in taken

    @pytest.fixture
    def cut_off(self, tune):
        with pytest.raises(Cut):
            tune(progress=cut_at("fine-tuning", 3))

    @pytest.mark.usefixtures("cut_off")
    @pytest.mark.parametrize(
        ("change", "name"), [({"learning_rate": 2e-3}, "learning_rate"), ({"seed": 1}, "seed"), ({"batch": 4}, "batch")]
    )
    def test_with_other_settings_is_refused(self, tune, change, name):
        with pytest.raises(Conflict, match=f"cannot resume .* {name} was"):
            tune(NIP.replace(**change), resume=True)

    @pytest.mark.usefixtures("cut_off")
    def test_with_another_model_or_other_data_is_refused(self, tune, base, corpus):
        with pytest.raises(Conflict, match="initial_model was"):
            tune(base=replace(base, model_id="0" * 16), resume=True)
        with pytest.raises(Conflict, match="corpus was"):
            tune(corpus=Corpus(corpus.products, corpus.interactions[:-1]), resume=True)

    @pytest.mark.usefixtures("cut_off")
    @pytest.mark.parametrize("overwrite", [False, True])
    def test_an_unfinished_run_is_kept_until_something_says_otherwise(self, tune, monkeypatch, overwrite):
        with monkeypatch.context() as before_any_work:
            before_any_work.setattr(finetuning, "objective_of", die)
            with pytest.raises(Conflict, match="continue it with --resume, or discard it with --restart"):
                tune(overwrite=overwrite)
        taken = []
        tune(resume=True, overwrite=overwrite, progress=lambda what, done, *_: taken.append((what, done)))
        steps = [done for what, done in taken if what == "fine-tuning, nip"]
        assert steps == [3, 4, 5, 6, 7], "two steps were saved, the third is taken again"

    @pytest.mark.usefixtures("cut_off")
    def test_restart_takes_every_step_again(self, tune, whole):
        taken = []
        assert tune(restart=True, progress=lambda what, done, *_: taken.append((what, done))).model_id == whole[0]
        steps = [done for what, done in taken if what == "fine-tuning, nip"]
        assert steps[-7:] == list(range(1, 8))

    @pytest.mark.usefixtures("cut_off")
    def test_a_restart_that_cannot_train_discards_nothing(self, tune, out):
        state = (out.with_name("model.training") / "state.pt").read_bytes()
        with pytest.raises(InvalidData, match="only a causal session encoder"):
            tune(SEQUENCES.replace(item_embeddings=False), restart=True)
        assert (out.with_name("model.training") / "state.pt").read_bytes() == state

    def test_resume_and_restart_exclude_each_other(self, tune):
        with pytest.raises(ValueError, match="choose one of them"):
            tune(resume=True, restart=True)

    def test_two_runs_with_one_out_exclude_each_other(self, tune, out):
        refused = []

        def second_run(what, done, total, note=""):
            if what.startswith("fine-tuning") and done == 3:
                for settings in ({}, {"resume": True}, {"restart": True}, {"overwrite": True}):
                    with pytest.raises(Conflict, match=f"another run is writing to {out} .* is locked") as error:
                        tune(**settings)
                    refused.append(error.value.exit_code)

        tune(progress=second_run)
        assert refused == [5] * 4
        assert [path.name for path in out.parent.iterdir()] == ["model"], "the lock is gone"

    def test_there_must_be_something_to_resume(self, tune, out, monkeypatch):
        monkeypatch.setattr(finetuning, "objective_of", die)
        with pytest.raises(NotFound, match=r"no unfinished run at .*: start one without --resume"):
            tune(resume=True)
        assert not out.exists()


class TestRefused:
    def test_a_taken_path_before_any_work(self, tune, out):
        out.mkdir()
        (out / "precious").touch()
        with pytest.raises(Conflict, match="exists already"):
            tune()
        assert not out.with_name("model.training").exists()

    @pytest.mark.parametrize("config", [NIP, PIP, RLP], ids=["nip", "pip", "rlp"])
    def test_a_loss_that_is_not_finite_leaves_no_model(self, tune, out, config):
        advice = "lower --learning-rate and start over with --restart"
        problem = rf"the loss of step \d is not finite; the step was not taken: {advice}"
        with pytest.raises(QualityGateFailed, match=problem):
            tune(config.replace(learning_rate=1e30))
        assert not out.exists()
        last = metrics_of(out.with_name("model.training"))[-1]
        assert re.match(problem, last["failed"]), "the log says why it ends"
        assert last["step"] >= 1
        assert tune(config, restart=True).folder == out, "what the message advises"

    def test_fixed_products_need_a_model_that_reads_them(self, tune, base, tmp_path):
        tuned = tune(PIP, out=tmp_path / "pip")
        with pytest.raises(InvalidData, match=r"config\.json.* fine-tuned for pip, not for nip"):
            tune(base=tuned, out=tmp_path / "nip")
        with pytest.raises(ValueError, match="copied from its folder, and this model has none"):
            tune(base=replace(base, folder=None))
        assert [path.name for path in tmp_path.iterdir()] == ["pip"]

    def test_a_product_tower_that_changed_meanwhile(self, tune, base, tokenizer, stir, tmp_path, out):
        (tmp_path / "base").mkdir()
        copy_checkpoint(base.folder, tmp_path / "base")
        moved = Checkpoint.from_pretrained(tmp_path / "base")
        stir(changed := Checkpoint.from_pretrained(tmp_path / "base").model)
        save_checkpoint(tmp_path / "base", changed, tokenizer, {})
        with pytest.raises(Conflict, match="base changed since it was opened"):
            tune(base=moved)
        assert not out.exists()

    @pytest.mark.parametrize(
        ("config", "problem"),
        [
            (NIP.replace(min_count=1000), "examples of nip to train on"),
            (PIP.replace(min_interactions=50), "examples of pip to train on"),
            (RLP.replace(split="leave-one-out"), "rlp needs a split by time or by session"),
            (NIP.replace(split="time"), "needs a timestamp in every session"),
        ],
    )
    def test_a_corpus_that_cannot_pose_the_task(self, tune, out, config, problem):
        with pytest.raises(InvalidData, match=problem):
            tune(config)
        assert not out.exists()
        assert not out.with_name("model.training").exists()
