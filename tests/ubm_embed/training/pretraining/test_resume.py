"""A run that was cut off ends as if it had never been; two runs never share a folder."""

import polars as pl
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.ubm_embed.training.pretraining.conftest import CONFIG
from tests.ubm_embed.training.runs import Cut, cut_at, die, metrics_of, without_times
from ubm_embed.data.corpus import Corpus
from ubm_embed.errors import Conflict, NotFound
from ubm_embed.model.user_behavior_model import UserBehaviorModel
from ubm_embed.training.pretraining import pretrain as pretraining
from ubm_embed.training.pretraining.config import LOSSES
from ubm_embed.training.pretraining.pretrain import pretrain
from ubm_embed.training.tracking.tracker import TrackerName
from ubm_embed.training.tracking.tracking import open_trackers


@pytest.fixture(scope="module")
def whole(corpus, tokenizer, tmp_path_factory):
    """A run without a cut: its model id and its metrics."""
    torch.manual_seed(0)
    sizes = {"layers": 1, "width": 16, "dimension": 16, "session_layers": 1}
    model = UserBehaviorModel.from_scratch(vocab_size=tokenizer.vocab_size, **sizes)
    folder = tmp_path_factory.mktemp("whole") / "model"
    return pretrain(corpus, model, tokenizer, folder, CONFIG).model_id, without_times(metrics_of(folder))


class TestResume:
    @pytest.mark.parametrize(
        ("stage", "step"),
        [(1, 1), (1, 3), (1, 5), (1, -1), (2, 1), (2, 4), (2, -1)],
        ids=lambda value: "last" if value == -1 else str(value),
    )
    def test_ends_as_if_it_had_never_been_cut(self, train, out, whole, stage, step):
        last = next(entry["steps"] for entry in whole[1] if entry["stage"] == stage)
        with pytest.raises(Cut):
            train(progress=cut_at(f"pre-training, stage {stage}", last if step == -1 else step))
        assert not out.exists()
        assert train(resume=True).model_id == whole[0]
        assert without_times(metrics_of(out)) == whole[1]
        assert not out.with_name("model.training").exists()

    def test_goes_on_from_the_last_kept_state(self, train):
        with pytest.raises(Cut):
            train(progress=cut_at("pre-training, stage 1", 5))
        taken = []
        train(resume=True, progress=lambda what, done, *_: taken.append(done))
        assert taken[0] == 4, "three steps were saved, the fourth and fifth are taken again"

    def test_its_trackers_have_each_step_once_and_change_nothing(self, train, out, whole):
        with pytest.raises(Cut):
            train(progress=cut_at("pre-training, stage 2", 2), trackers=open_trackers([TrackerName.TENSORBOARD], out))
        again = train(resume=True, trackers=open_trackers([TrackerName.TENSORBOARD], out))
        assert again.model_id == whole[0]
        (folder,) = out.with_name("model.tensorboard").iterdir()
        events = EventAccumulator(str(folder))
        events.Reload()
        steps = metrics_of(out)
        for stage in (1, 2):
            logged = events.Scalars(f"stage_{stage}/uniformity")
            expected = {n: line["uniformity"] for n, line in enumerate(steps, start=1) if line["stage"] == stage}
            assert [event.step for event in logged] == [*expected]
            assert {event.step: event.value for event in logged} == pytest.approx(expected)

    def test_can_be_cut_more_than_once(self, train, whole):
        with pytest.raises(Cut):
            train(progress=cut_at("pre-training, stage 1", 4))
        for place in ((1, 6), (1, 7), (2, 2), (2, 5)):
            with pytest.raises(Cut):
                train(progress=cut_at(f"pre-training, stage {place[0]}", place[1]), resume=True)
        assert train(resume=True).model_id == whole[0]

    def test_trained_to_the_end_but_not_written(self, train, whole, monkeypatch):
        with monkeypatch.context() as patch:
            patch.setattr(pretraining, "save_checkpoint", die)
            with pytest.raises(Cut):
                train()
        taken = []
        assert train(resume=True, progress=lambda *entry: taken.append(entry)).model_id == whole[0]
        assert taken == []

    @pytest.fixture
    def cut_off(self, train):
        with pytest.raises(Cut):
            train(progress=cut_at("pre-training, stage 1", 2))

    @pytest.mark.usefixtures("cut_off")
    @pytest.mark.parametrize(
        ("change", "name"),
        [({"learning_rate": 2e-3}, "learning_rate"), ({"seed": 1}, "seed"), ({"losses": LOSSES[1:]}, "losses")],
    )
    def test_with_other_settings_is_refused(self, train, change, name):
        with pytest.raises(Conflict, match=f"cannot resume .* {name} was"):
            train(CONFIG.replace(**change), resume=True)

    @pytest.mark.usefixtures("cut_off")
    def test_with_another_starting_model_is_refused(self, train, corpus, tokenizer, fresh, out):
        with pytest.raises(Conflict, match="initial_model was"):
            train(seed=1, resume=True)
        with pytest.raises(Conflict, match="initial_model was"):
            pretrain(corpus, fresh(dropout=0.3), tokenizer, out, CONFIG, resume=True)

    @pytest.mark.usefixtures("cut_off")
    def test_with_other_data_is_refused(self, train, corpus):
        added = pl.when(pl.col("action") == "view").then(pl.lit("add")).otherwise("action").alias("action")
        for frame in (corpus.interactions.with_columns(added), corpus.interactions[:-1]):
            with pytest.raises(Conflict, match="corpus was"):
                train(corpus=Corpus(corpus.products, frame), resume=True)

    @pytest.mark.usefixtures("cut_off")
    @pytest.mark.parametrize("overwrite", [False, True])
    def test_an_unfinished_run_is_kept_until_something_says_otherwise(self, train, whole, out, overwrite):
        settings = (out.with_name("model.training") / "settings.json").read_bytes()
        with pytest.raises(Conflict, match="continue it with --resume, or discard it with --restart"):
            train(overwrite=overwrite)
        assert (out.with_name("model.training") / "settings.json").read_bytes() == settings
        assert train(resume=True, overwrite=overwrite).model_id == whole[0]

    @pytest.mark.usefixtures("cut_off")
    def test_restart_takes_every_step_again(self, train, whole):
        taken = []
        assert train(restart=True, progress=lambda what, done, *_: taken.append((what, done))).model_id == whole[0]
        assert taken[0] == ("pre-training, stage 1", 1)

    @pytest.mark.usefixtures("cut_off")
    def test_a_restart_with_other_settings_is_another_run(self, train):
        assert train(CONFIG.replace(seed=1), restart=True).record["pretraining"]["seed"] == 1

    def test_resume_and_restart_exclude_each_other(self, train):
        with pytest.raises(ValueError, match="choose one of them"):
            train(resume=True, restart=True)

    def test_two_runs_with_one_out_exclude_each_other(self, train, out):
        refused = []

        def second_run(what, done, total, note=""):
            if (what, done) == ("pre-training, stage 1", 2):
                for settings in ({}, {"resume": True}, {"restart": True}, {"overwrite": True}):
                    with pytest.raises(Conflict, match=f"another run is writing to {out} .* is locked") as error:
                        train(**settings)
                    refused.append(error.value.exit_code)

        train(progress=second_run)
        assert refused == [5] * 4
        assert [path.name for path in out.parent.iterdir()] == ["model"], "the lock is gone"

    @pytest.mark.usefixtures("cut_off")
    def test_a_run_that_was_cut_off_leaves_no_lock(self, out):
        assert [path.name for path in out.parent.iterdir()] == ["model.training"]

    def test_there_must_be_something_to_resume(self, train, out):
        with pytest.raises(NotFound, match=r"no unfinished run at .*: start one without --resume"):
            train(resume=True)
        assert not out.exists()

    def test_a_taken_path_is_refused_before_any_work(self, train, out):
        out.mkdir()
        (out / "precious").touch()
        with pytest.raises(Conflict, match="exists already"):
            train()
        assert not out.with_name("model.training").exists()
