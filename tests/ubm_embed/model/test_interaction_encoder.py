"""The packed interaction encoder against the plain BertModel of transformers, run one sequence at a time."""

import copy
import json
import logging

import numpy as np
import pytest
import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertModel,
    ElectraConfig,
    ElectraForPreTraining,
    ElectraModel,
    RobertaConfig,
    RobertaModel,
)

from tests.rounding import FORWARD_AND_BACKWARD, LAYER, rounding_error
from ubm_embed.data.batches.packing import TokenBatch
from ubm_embed.data.text.token_table import TokenTable
from ubm_embed.errors import InvalidData, NotFound
from ubm_embed.model.bert import bert_config, encoder_config, load_bert
from ubm_embed.model.user_behavior_model import InteractionEncoder

# At most three layers, and no sum of more than 64 terms.
ATOL = rounding_error(3 * LAYER, 64)
GRADIENT = rounding_error(3 * LAYER * FORWARD_AND_BACKWARD, 64)

VOCABULARY = 40
SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 64,
}


def sequences(*lengths):
    generator = np.random.default_rng(0)
    return TokenTable.from_rows([generator.integers(5, VOCABULARY, length) for length in lengths])


def plain(encoder, family=BertModel):
    """The same weights in transformers' own model with its own attention."""
    model = family(
        copy.deepcopy(encoder.encoder.config), **({"add_pooling_layer": False} if family is BertModel else {})
    )
    model.set_attn_implementation("eager")
    model.load_state_dict(encoder.encoder.state_dict())
    return model.train(encoder.training)


def one_at_a_time(model, projection, table):
    rows = [torch.from_numpy(table.row(index)).long().unsqueeze(0) for index in range(len(table))]
    return torch.cat([projection(model(input_ids=row).last_hidden_state[:, 0]) for row in rows])


@pytest.fixture
def encoder(stir):
    torch.manual_seed(0)
    built = InteractionEncoder(bert_config(vocab_size=VOCABULARY, layers=2, width=16, heads=2, dropout=0.0), 16)
    stir(built)
    return built.eval()


@pytest.mark.parametrize("lengths", [[7], [1], [4, 4, 4], [9, 2, 64, 2, 5, 1]])
def test_equals_bert_one_sequence_at_a_time(encoder, lengths):
    table = sequences(*lengths)
    with torch.no_grad():
        expected = one_at_a_time(plain(encoder), encoder.projection, table)
        found = encoder(TokenBatch.from_table(table))
    torch.testing.assert_close(found, expected, atol=ATOL, rtol=0)
    assert expected.std() > 0.1


def test_gradients_equal_those_of_bert(encoder):
    encoder.train()  # its dropout is 0
    table = sequences(3, 6, 3)
    reference = plain(encoder)
    direction = torch.randn(3, 16)
    (one_at_a_time(reference, encoder.projection, table) * direction).sum().backward()
    (encoder(TokenBatch.from_table(table)) * direction).sum().backward()
    expected = {name: parameter.grad for name, parameter in reference.named_parameters()}
    for name, parameter in encoder.encoder.named_parameters():
        torch.testing.assert_close(
            parameter.grad, expected[name], atol=GRADIENT, rtol=GRADIENT, msg=lambda text, n=name: n + text
        )


def test_a_sequences_vector_does_not_depend_on_the_others(encoder):
    table = sequences(5, 2, 9)
    order = np.array([2, 0, 1, 0])
    with torch.no_grad():
        together, shuffled = encoder(TokenBatch.from_table(table)), encoder(TokenBatch.from_table(table.take(order)))
    torch.testing.assert_close(shuffled, together[order], atol=ATOL, rtol=0)


def test_dropout_is_on_in_training_only():
    torch.manual_seed(0)
    encoder = InteractionEncoder(bert_config(vocab_size=VOCABULARY, layers=1, width=16, heads=2, dropout=0.5), 16)
    batch = TokenBatch.from_table(sequences(4, 4))
    assert not torch.equal(encoder.train()(batch), encoder(batch))
    assert torch.equal(encoder.eval()(batch), encoder(batch))


class TestMeanOfTokens:
    @pytest.fixture
    def mean(self, stir):
        torch.manual_seed(0)
        bert = bert_config(vocab_size=VOCABULARY, layers=2, width=16, heads=2, dropout=0.0)
        built = InteractionEncoder(bert, 24, mean_of_tokens=True)
        stir(built)
        return built.eval()

    def padded_and_masked(self, model, projection, table):
        """transformers' own model over padded sequences with a mask, and the mean over the slots that hold a token."""
        rows = [torch.from_numpy(table.row(index)).long() for index in range(len(table))]
        ids, real = (pad_sequence(some, batch_first=True) for some in (rows, [torch.ones_like(row) for row in rows]))
        outputs = model(input_ids=ids, attention_mask=real).last_hidden_state * real.unsqueeze(2)
        return projection(outputs.sum(dim=1) / real.sum(dim=1, keepdim=True))

    @pytest.mark.parametrize("lengths", [[7], [1], [4, 4, 4], [9, 2, 64, 2, 5, 1]])
    @torch.no_grad()
    def test_equals_padded_bert_and_a_masked_mean(self, mean, lengths):
        table = sequences(*lengths)
        expected = self.padded_and_masked(plain(mean), mean.projection, table)
        torch.testing.assert_close(mean(TokenBatch.from_table(table)), expected, atol=ATOL, rtol=0)
        assert expected.std() > 0.05

    def test_gradients_equal_those_of_bert(self, mean):
        table, reference, direction = sequences(3, 6, 3), plain(mean), torch.randn(3, 24)
        (self.padded_and_masked(reference, mean.projection, table) * direction).sum().backward()
        (mean(TokenBatch.from_table(table)) * direction).sum().backward()
        expected = {name: parameter.grad for name, parameter in reference.named_parameters()}
        for name, parameter in mean.encoder.named_parameters():
            torch.testing.assert_close(parameter.grad, expected[name], atol=GRADIENT, rtol=GRADIENT)

    @torch.no_grad()
    def test_started_as_words_a_fresh_one_is_their_mean(self):
        bert = bert_config(vocab_size=VOCABULARY, layers=2, width=16, heads=2)
        fresh, table = InteractionEncoder(bert, 16, mean_of_tokens=True).eval(), sequences(5, 2, 9)
        assert not torch.allclose(fresh(TokenBatch.from_table(table)), self.words(fresh, table), atol=0.1)
        fresh.start_as_words()
        torch.testing.assert_close(fresh(TokenBatch.from_table(table)), self.words(fresh, table), atol=ATOL, rtol=0)

    @torch.no_grad()
    def test_without_layers_it_is_the_mean_of_its_words(self):
        bert, table = bert_config(vocab_size=VOCABULARY, layers=0, width=16, heads=2), sequences(5, 2, 9)
        bag = InteractionEncoder(bert, 16, mean_of_tokens=True).eval()
        torch.testing.assert_close(bag(TokenBatch.from_table(table)), self.words(bag, table), atol=ATOL, rtol=0)

    def test_started_as_words_its_layers_can_learn(self):
        fresh = InteractionEncoder(
            bert_config(vocab_size=VOCABULARY, layers=2, width=16, heads=2), 16, mean_of_tokens=True
        )
        fresh.start_as_words()
        (fresh.eval()(TokenBatch.from_table(sequences(5, 2))) * torch.randn(2, 16)).sum().backward()
        silent = [weights for name, weights in fresh.named_parameters() if name.endswith("output.dense.weight")]
        assert len(silent) == 4, "two branches in each of two layers"
        assert all(weights.grad.abs().max() > 0 for weights in silent)

    def words(self, encoder, table):
        """Mean over each sequence of words, positions and the token type, normalised as BERT does."""
        embeddings = encoder.encoder.embeddings
        rows = [torch.from_numpy(table.row(index)).long() for index in range(len(table))]
        return torch.stack([embeddings(row.unsqueeze(0))[0].mean(dim=0) for row in rows])


def test_the_papers_sizes():
    config = bert_config(vocab_size=100)
    assert (config.num_hidden_layers, config.hidden_size, config.max_position_embeddings) == (4, 256, 64)


class TestLoadBert:
    @pytest.fixture
    def checkpoint(self, tmp_path, caplog):
        torch.manual_seed(0)
        caplog.set_level(logging.ERROR)
        BertForMaskedLM(BertConfig(**SIZES)).save_pretrained(tmp_path)
        return tmp_path

    def load(self, source, layers=2, vocab_size=VOCABULARY):
        return load_bert(str(source), layers=layers, vocab_size=vocab_size, dropout=0.0).eval()

    def change(self, checkpoint, **settings):
        config = json.loads((checkpoint / "config.json").read_text())
        (checkpoint / "config.json").write_text(json.dumps(config | settings))

    def test_keeps_the_first_layers_and_old_tokens_and_adds_new_ones_as_their_mean(self, checkpoint):
        original = BertModel.from_pretrained(checkpoint)
        loaded = self.load(checkpoint, vocab_size=VOCABULARY + 3)
        assert len(loaded.encoder.layer) == loaded.config.num_hidden_layers == 2
        for index in range(2):
            expected = original.encoder.layer[index].state_dict()
            assert all(
                torch.equal(value, expected[key]) for key, value in loaded.encoder.layer[index].state_dict().items()
            )
        table, old = loaded.embeddings.word_embeddings.weight, original.embeddings.word_embeddings.weight
        assert torch.equal(table[:VOCABULARY], old)
        torch.testing.assert_close(table[VOCABULARY:], old.mean(dim=0).expand(3, -1))
        assert loaded.config.vocab_size == VOCABULARY + 3

    def test_runs_packed_as_the_checkpoint_runs(self, checkpoint):
        table = sequences(6, 2, 6)
        encoder = InteractionEncoder(self.load(checkpoint, layers=9), 16).eval()
        assert isinstance(encoder.projection, torch.nn.Identity)
        with torch.no_grad():
            expected = one_at_a_time(BertModel.from_pretrained(checkpoint).eval(), encoder.projection, table)
            torch.testing.assert_close(encoder(TokenBatch.from_table(table)), expected, atol=ATOL, rtol=0)

    def test_another_width_gets_a_projection(self, checkpoint):
        encoder = InteractionEncoder(self.load(checkpoint), 24)
        assert encoder(TokenBatch.from_table(sequences(3, 1))).shape == (2, 24)

    def test_electra_with_embeddings_of_another_width(self, tmp_path):
        torch.manual_seed(0)
        ElectraForPreTraining(ElectraConfig(**SIZES, embedding_size=8)).save_pretrained(tmp_path)
        table = sequences(6, 2, 6)
        loaded = self.load(tmp_path, layers=3, vocab_size=VOCABULARY + 2)
        encoder = InteractionEncoder(loaded, 16).eval()
        assert loaded.get_input_embeddings().weight.shape == (VOCABULARY + 2, 8)
        with torch.no_grad():
            expected = one_at_a_time(ElectraModel.from_pretrained(tmp_path).eval(), encoder.projection, table)
            torch.testing.assert_close(encoder(TokenBatch.from_table(table)), expected, atol=ATOL, rtol=0)

    def test_half_precision_is_loaded_in_full(self, tmp_path):
        BertModel(BertConfig(**SIZES)).half().save_pretrained(tmp_path)
        assert {parameter.dtype for parameter in self.load(tmp_path).parameters()} == {torch.float32}

    def test_says_nothing_of_what_it_leaves_out(self, checkpoint, capfd):
        capfd.readouterr()
        self.load(checkpoint, layers=1)
        assert capfd.readouterr() == ("", "")

    def test_nothing_there(self, tmp_path):
        with pytest.raises(NotFound, match=r"expected a folder with a config\.json"):
            self.load(tmp_path)
        with pytest.raises(NotFound, match="neither a folder nor"):
            self.load(tmp_path / "absent")

    def test_no_weights(self, checkpoint):
        (checkpoint / "model.safetensors").unlink()
        with pytest.raises(NotFound, match="no weights"):
            self.load(checkpoint)

    def test_roberta_is_refused(self, tmp_path):
        RobertaModel(RobertaConfig(**SIZES)).save_pretrained(tmp_path)
        with pytest.raises(InvalidData, match="'bert' or 'electra', got 'roberta'"):
            self.load(tmp_path)

    @pytest.mark.parametrize(
        ("settings", "problem"),
        [
            ({"max_position_embeddings": 32}, "max_position_embeddings of at least 64, got 32"),
            ({"hidden_size": "wide"}, "hidden_size"),
            ({"is_decoder": True}, "is_decoder"),
            ({"hidden_size": 32}, "missing or of another shape, such as embeddings"),
            ({"intermediate_size": 64}, r"missing or of another shape, such as encoder\.layer\.0"),
        ],
    )
    def test_settings_that_do_not_fit_are_named(self, checkpoint, settings, problem):
        self.change(checkpoint, **settings)
        with pytest.raises(InvalidData, match=problem) as caught:
            self.load(checkpoint)
        assert str(checkpoint) in str(caught.value)

    def test_layers_that_the_weights_lack_are_never_left_at_random(self, checkpoint):
        self.change(checkpoint, num_hidden_layers=5)
        assert self.load(checkpoint, layers=3).config.num_hidden_layers == 3
        with pytest.raises(InvalidData, match=r"encoder\.layer\.3"):
            self.load(checkpoint, layers=4)

    @pytest.mark.parametrize("keep", [0, 7, 500, -1])
    def test_truncated_weights_are_named(self, checkpoint, keep):
        file = checkpoint / "model.safetensors"
        file.write_bytes(file.read_bytes()[:keep])
        with pytest.raises(InvalidData, match="cannot be loaded"):
            self.load(checkpoint)

    @pytest.mark.parametrize("text", ["{", "[1]", ""])
    def test_a_malformed_configuration_is_named(self, checkpoint, text):
        (checkpoint / "config.json").write_text(text)
        with pytest.raises(InvalidData, match=str(checkpoint)):
            self.load(checkpoint)


@pytest.mark.parametrize("layers", [-1, 10**9])
def test_a_configuration_with_impossible_layers_is_refused(layers):
    with pytest.raises(ValueError, match="num_hidden_layers"):
        encoder_config({"model_type": "bert", **SIZES, "num_hidden_layers": layers})
