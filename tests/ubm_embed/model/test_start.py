"""What training starts from: random weights, a BERT-like checkpoint, or a UBM."""

import json
from fnmatch import fnmatch

import huggingface_hub
import polars as pl
import pytest
import torch
from transformers import BertConfig, BertModel

from ubm_embed.data.corpus import Corpus
from ubm_embed.data.removals import MIN_REMOVALS
from ubm_embed.data.tasks.task import Task
from ubm_embed.data.text.tokenizer import WORD_MARKS
from ubm_embed.errors import InvalidData, NotFound
from ubm_embed.model.checkpoint import Checkpoint, save_checkpoint
from ubm_embed.model.start import checkpoint_folder, fresh_model, layers_of_checkpoint, model_from_checkpoint

SIZES = {"layers": 1, "dimension": 16, "session_layers": 1}
WORDS = (*WORD_MARKS, "red", "blue", "shoes", "shirt", "running", "leather", "##s")


@pytest.fixture
def corpus(products):
    rows = [("s", 0, "search", None, "purple umbrella"), ("s", 1, "view", "p1", None)]
    columns = ["session_id", "position", "action", "product_id", "query"]
    return Corpus(products, pl.DataFrame(rows, schema=columns, orient="row"))


@pytest.fixture
def vocab(tmp_path):
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS) + "\n", "utf-8")
    return tmp_path / "vocab.txt"


@pytest.fixture
def bert(tmp_path):
    """A folder with a tiny BERT of three layers and its vocabulary."""
    folder = tmp_path / "bert"
    torch.manual_seed(5)
    sizes = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 32}
    BertModel(BertConfig(vocab_size=len(WORDS), max_position_embeddings=64, **sizes)).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n", "utf-8")
    return folder


def same_weights(one, other):
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(left, right) for left, right in pairs)


class TestFresh:
    def test_learns_its_vocabulary_from_products_and_searches(self, corpus):
        model, tokenizer = fresh_model(corpus, vocab_size=128, width=16, **SIZES)
        assert model.interaction_encoder.vocab_size == tokenizer.vocab_size <= 128
        tokens = set(tokenizer.tokens(range(tokenizer.vocab_size)))
        assert {"shoes", "[COLOUR]", "[SIZE]", "[MATERIAL]"} <= tokens
        assert "[UNK]" not in tokenizer.tokens(tokenizer.search_phrases(["purple umbrella"]).ids)

    def test_takes_a_vocabulary(self, corpus, vocab):
        model, tokenizer = fresh_model(corpus, vocab=vocab, width=16, **SIZES)
        assert tokenizer.tokens(range(len(WORDS))) == list(WORDS)
        assert model.interaction_encoder.vocab_size == tokenizer.vocab_size > len(WORDS)
        assert "[COLOUR]" in tokenizer.tokens(range(tokenizer.vocab_size))

    @pytest.mark.parametrize("taken", [True, False])
    @pytest.mark.parametrize(("removals", "token"), [(MIN_REMOVALS, True), (MIN_REMOVALS - 1, False)])
    def test_learns_a_token_for_removals_where_there_are_enough(self, corpus, vocab, taken, removals, token):
        rows = [("r", number, "remove", "p1", None) for number in range(removals)]
        added = pl.DataFrame(rows, schema=corpus.interactions.schema, orient="row")
        removing = Corpus(corpus.products, pl.concat([corpus.interactions, added]))
        _, tokenizer = fresh_model(removing, vocab=vocab if taken else None, width=16, **SIZES)
        assert tokenizer.reads_removals is token
        assert ("[REMOVE]" in tokenizer.tokens(range(tokenizer.vocab_size))) is token

    def test_takes_its_sizes(self, corpus):
        model, _ = fresh_model(corpus, width=24, layers=2, dimension=12, session_layers=3, dropout=0.25)
        assert model.config.dimension == 12
        assert model.config.session_layers == 3
        assert model.config.dropout == 0.25
        assert model.config.interaction_encoder["hidden_size"] == 24
        assert model.config.interaction_encoder["num_hidden_layers"] == 2

    def test_is_the_same_for_the_same_seed(self, corpus):
        first, second, other = (fresh_model(corpus, seed=seed, width=16, **SIZES)[0] for seed in (3, 3, 4))
        assert same_weights(first, second)
        assert not same_weights(first, other)

    def test_a_missing_vocabulary(self, corpus, tmp_path):
        with pytest.raises(NotFound, match="no vocabulary at"):
            fresh_model(corpus, vocab=tmp_path / "gone.txt", width=16, **SIZES)


class TestFromUBM:
    def test_is_that_model_with_its_own_sizes_and_words(self, corpus, model, tokenizer, tmp_path):
        save_checkpoint(tmp_path, model, tokenizer, {})
        found, words = model_from_checkpoint(str(tmp_path), corpus, layers=7, session_layers=7)
        assert same_weights(found, model)
        assert found.config == Checkpoint.from_pretrained(tmp_path).model.config
        assert words.vocab_size == tokenizer.vocab_size

    def test_one_that_was_fine_tuned_is_refused(self, corpus, model, tokenizer, tmp_path):
        save_checkpoint(tmp_path, model.fine_tuned(task=Task.RLP), tokenizer, {})
        with pytest.raises(InvalidData, match=r"config\.json, field 'task': .*fine-tuned for rlp"):
            model_from_checkpoint(str(tmp_path), corpus)

    def test_a_damaged_one_is_named(self, corpus, model, tokenizer, tmp_path):
        save_checkpoint(tmp_path, model, tokenizer, {})
        (tmp_path / "model.safetensors").write_bytes(b"")
        with pytest.raises(InvalidData, match="truncated"):
            model_from_checkpoint(str(tmp_path), corpus)


class TestFromBert:
    def test_takes_its_first_layers_and_its_words(self, corpus, bert):
        model, tokenizer = model_from_checkpoint(str(bert), corpus, layers=2, dimension=16, session_layers=1)
        source = BertModel.from_pretrained(bert).state_dict()
        ours = model.interaction_encoder.encoder.state_dict()
        for layer in (0, 1):
            name = f"encoder.layer.{layer}.attention.self.query.weight"
            assert torch.equal(ours[name], source[name])
        assert model.config.interaction_encoder["num_hidden_layers"] == 2
        words = ours["embeddings.word_embeddings.weight"]
        assert torch.equal(words[: len(WORDS)], source["embeddings.word_embeddings.weight"])
        assert tokenizer.tokens(range(len(WORDS))) == list(WORDS)
        assert len(words) == tokenizer.vocab_size
        assert "[COLOUR]" in tokenizer.tokens(range(tokenizer.vocab_size))

    def test_new_tokens_start_as_the_words_of_their_names(self, corpus, bert):
        words = [*WORDS, "colour", "add", "view", "si", "##ze"]
        sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
        BertModel(BertConfig(vocab_size=len(words), max_position_embeddings=64, **sizes)).save_pretrained(bert)
        (bert / "vocab.txt").write_text("\n".join(words) + "\n", "utf-8")
        model, tokenizer = model_from_checkpoint(str(bert), corpus, **SIZES)
        tokens = tokenizer.tokens(range(tokenizer.vocab_size))
        vectors = dict(zip(tokens, model.interaction_encoder.encoder.get_input_embeddings().weight, strict=True))
        for name in ("colour", "add", "view"):
            torch.testing.assert_close(vectors[f"[{name.upper()}]"], vectors[name])
        torch.testing.assert_close(vectors["[SIZE]"], (vectors["si"] + vectors["##ze"]) / 2)
        mean = torch.stack([vectors[word] for word in words]).mean(dim=0)
        torch.testing.assert_close(vectors["[MATERIAL]"], mean, msg="a name of unknown words")

    @pytest.mark.parametrize("pools_mean", [True, False])
    def test_a_sentence_model_is_read_as_it_was_trained(self, corpus, bert, pools_mean):
        kinds = ("Transformer", "Pooling")
        modules = [{"path": "1_Pooling", "type": f"sentence_transformers.models.{kind}"} for kind in kinds]
        (bert / "modules.json").write_text(json.dumps(modules))
        (bert / "1_Pooling").mkdir()
        pooling = {"pooling_mode_mean_tokens": pools_mean, "pooling_mode_cls_token": not pools_mean}
        (bert / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
        assert layers_of_checkpoint(str(bert)) > 3
        model, _ = model_from_checkpoint(str(bert), corpus, mean_of_tokens=not pools_mean, **SIZES)
        assert model.config.mean_of_tokens is pools_mean
        assert model.config.projected, "whitened, although it is as wide as the model"

    def test_a_plain_bert_is_read_as_in_the_paper(self, corpus, bert):
        assert layers_of_checkpoint(str(bert)) == 4
        model, _ = model_from_checkpoint(str(bert), corpus, **SIZES)
        assert not model.config.mean_of_tokens
        assert not model.config.projected

    def test_what_it_lacks_is_seeded(self, corpus, bert):
        first, second, other = (
            model_from_checkpoint(str(bert), corpus, seed=seed, dimension=8)[0] for seed in (1, 1, 2)
        )
        assert same_weights(first, second)
        assert not same_weights(first.session_encoder, other.session_encoder)
        assert not same_weights(first.interaction_encoder.projection, other.interaction_encoder.projection)

    @pytest.mark.parametrize("name", ["vocab.txt", "model.safetensors", "config.json"])
    def test_a_missing_file(self, corpus, bert, name):
        (bert / name).unlink()
        with pytest.raises(NotFound):
            model_from_checkpoint(str(bert), corpus, **SIZES)

    @pytest.mark.parametrize("text", ["", "[]", "[" * 100_000])
    def test_a_malformed_configuration_is_named(self, corpus, bert, text):
        (bert / "config.json").write_text(text)
        with pytest.raises(InvalidData) as caught:
            model_from_checkpoint(str(bert), corpus, **SIZES)
        assert caught.value.file == bert / "config.json"

    def test_another_kind_of_model_is_named(self, corpus, bert):
        config = json.loads((bert / "config.json").read_text())
        (bert / "config.json").write_text(json.dumps(config | {"model_type": "gpt2"}))
        with pytest.raises(InvalidData, match="gpt2"):
            model_from_checkpoint(str(bert), corpus, **SIZES)


class TestCheckpointFolder:
    @pytest.fixture
    def offline(self, monkeypatch, tmp_path):
        # Read when the library is imported, which it may have been by now.
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))

    def test_a_folder_is_itself(self, tmp_path):
        assert checkpoint_folder(str(tmp_path)) == tmp_path

    @pytest.mark.usefixtures("offline")
    @pytest.mark.parametrize("name", ["nobody/nothing", "nothing", "/no/such/folder", "not a name!", "a/b/c"])
    def test_neither_a_folder_nor_on_the_hub(self, corpus, name):
        with pytest.raises(NotFound, match="not a folder, and the hub has none"):
            checkpoint_folder(name)
        with pytest.raises(NotFound):
            model_from_checkpoint(name, corpus)

    def test_a_name_is_fetched_with_only_what_is_needed(self, monkeypatch, tmp_path):
        requests = {}

        def download(name, *, allow_patterns):
            requests[name] = allow_patterns
            return str(tmp_path)

        monkeypatch.setattr("huggingface_hub.snapshot_download", download)
        assert checkpoint_folder("somebody/bert") == tmp_path
        files = [
            "config.json",
            "vocab.txt",
            "tokenizer.json",
            "model.safetensors",
            "tf_model.h5",
            "model.onnx",
            "run.py",
        ]
        fetched = [file for file in files if any(fnmatch(file, pattern) for pattern in requests["somebody/bert"])]
        assert fetched == files[:4]
