"""A model is fine-tuned with the split that it was pre-trained with, and its record says what pre-training read."""

from dataclasses import replace

import polars as pl
import pytest

from tests.ubm_embed.training.finetuning.conftest import NIP
from ubm_embed.data.corpus import Corpus
from ubm_embed.data.tasks.split import Split
from ubm_embed.data.tasks.task import SplitKind
from ubm_embed.errors import Conflict
from ubm_embed.training.finetuning.finetune import agreed_split


class TestAgreedSplit:
    TRAINED = Split(kind=SplitKind.SESSION, holdout=0.3)
    ASKED = NIP.replace(holdout=None)

    @pytest.fixture
    def trained(self, base, tokenized):
        """The model as pre-training leaves it, on this corpus with this split."""
        record = {"corpus": tokenized.fingerprint(), "split": self.TRAINED.to_dict()}
        return lambda **changes: replace(base, record=record | changes)

    @pytest.mark.parametrize("kind", ["auto", "session"])
    @pytest.mark.parametrize("holdout", [None, 0.3])
    def test_on_the_same_corpus_it_is_the_model_s(self, trained, tokenized, kind, holdout):
        config = NIP.replace(split=kind, holdout=holdout)
        assert agreed_split(trained(), tokenized, config) == (self.TRAINED, None)

    @pytest.mark.parametrize("kind", ["time", "leave-one-out"])
    def test_another_kind_is_refused(self, trained, tokenized, kind):
        with pytest.raises(
            Conflict, match=r"a split by session that holds out 0\.3; another would test it on sessions"
        ):
            agreed_split(trained(), tokenized, self.ASKED.replace(split=kind))

    @pytest.mark.parametrize("holdout", [0.1, 0.5])
    def test_another_size_is_refused(self, trained, tokenized, holdout):
        with pytest.raises(Conflict, match=r"a split by session that holds out 0\.3; another would"):
            agreed_split(trained(), tokenized, NIP.replace(holdout=holdout))

    def test_a_new_one_holds_out_a_tenth_by_default(self, base, tokenized):
        assert agreed_split(base, tokenized, self.ASKED)[0] == Split.choose(tokenized, holdout=0.1)

    def test_on_another_corpus_it_is_new_and_flagged(self, trained, tokenized):
        split, problem = agreed_split(trained(corpus="another"), tokenized, NIP)
        assert (split, problem) == (Split.choose(tokenized, holdout=0.5), "another corpus")

    def test_for_an_empty_record_it_is_new_and_flagged(self, base, tokenized):
        split, problem = agreed_split(base, tokenized, NIP)
        assert (split, problem) == (Split.choose(tokenized, holdout=0.5), "unknown")

    @pytest.mark.parametrize("kind", ["session", "leave-one-out"])
    def test_for_a_model_that_read_every_session_it_is_new_and_flagged(self, trained, tokenized, kind):
        everything = trained(split={"kind": "session", "holdout": 0.0})
        split, problem = agreed_split(everything, tokenized, NIP.replace(split=kind))
        assert (split, problem) == (Split.choose(tokenized, holdout=0.5, kind=kind), "it saw every session")

    def test_a_tuned_model_still_tells_what_pre_training_read(self, tune, trained, tokenized):
        tuned = tune(base=trained(split={"kind": "session", "holdout": 0.0}))
        split, problem = agreed_split(tuned, tokenized, self.ASKED)
        assert (split, problem) == (Split.choose(tokenized, holdout=0.5), "it saw every session")
        assert tune(self.ASKED, base=trained(), overwrite=True).record["leaks"]["pretraining_respects_split"]

    def test_the_record_has_it(self, tune, trained):
        record = tune(self.ASKED, base=trained()).record
        assert record["split"] == self.TRAINED.to_dict()
        assert record["leaks"]["pretraining_respects_split"]

    def test_by_time_where_there_are_times(self, tune, corpus):
        number = pl.col("session_id").str.slice(1).cast(pl.Int64)
        timestamp = (pl.datetime(2024, 5, 1) + pl.duration(days=number)).alias("timestamp")
        timed = Corpus(corpus.products, corpus.interactions.with_columns(timestamp))
        assert tune(corpus=timed).record["split"] == {
            "kind": "time",
            "holdout": 0.5,
            "validation_from": "2024-05-31T00:00:00",
            "test_from": "2024-06-15T00:00:00",
        }
