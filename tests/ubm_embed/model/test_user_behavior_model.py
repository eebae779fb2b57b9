import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertModel, ElectraConfig, ElectraForPreTraining

from tests.rounding import LAYER, rounding_error
from ubm_embed.data.batches.distinct_batches import NO_ACTION, interaction_sequences, session_batch
from ubm_embed.data.batches.packing import TokenBatch
from ubm_embed.data.session import Action
from ubm_embed.data.tasks.task import Task
from ubm_embed.errors import InvalidData, NotFound
from ubm_embed.model.config import CONFIG_FILE, UBMConfig
from ubm_embed.model.folder import WEIGHTS_FILE
from ubm_embed.model.heads import PurchaseIntentionHead, RemainingLengthHead
from ubm_embed.model.user_behavior_model import UserBehaviorModel

# Both encoders of the tiny model: two layers each, and no sum of more than 64 terms.
ATOL = rounding_error(4 * LAYER, 64)

VIEW, ADD = Action.VIEW.code, Action.ADD.code


@pytest.fixture
def texts(tokenizer, products):
    return tokenizer.product_texts(products)


@pytest.fixture
def embed(model, tokenizer, texts):
    """Sessions, each a list of (action, product row), to vectors [B, D]."""

    def embed(*sessions):
        arrays = [tuple(np.array(column) for column in zip(*session, strict=True)) for session in sessions]
        with torch.no_grad():
            return model(session_batch(tokenizer, texts, arrays))

    return embed


@pytest.fixture
def saved(model, tmp_path):
    model.save_pretrained(tmp_path)
    return tmp_path


SESSIONS = (
    [(VIEW, 0), (VIEW, 1), (VIEW, 0), (ADD, 0)],
    [(NO_ACTION, 4)],
    [(VIEW, 1), (VIEW, 7)],
    [(VIEW, 2), (ADD, 0), (VIEW, 0), (VIEW, 6)],
)


class TestForward:
    def test_sharing_interactions_changes_no_vector(self, model, embed, tokenizer, texts):
        # Every interaction encoded separately, as often as it occurs.
        expected = []
        for session in SESSIONS:
            vectors = []
            for action, row in session:
                single = session_batch(tokenizer, texts, [(np.array([action]), np.array([row]))])
                with torch.no_grad():
                    vectors.append(model.interaction_encoder(single.tokens))
            packing = session_batch(tokenizer, texts, [(np.zeros(len(session)), np.arange(len(session)))]).packing
            with torch.no_grad():
                expected.append(model.session_encoder(torch.cat(vectors), packing))
        torch.testing.assert_close(embed(*SESSIONS), torch.cat(expected), atol=ATOL, rtol=0)

    def test_a_sessions_vector_depends_neither_on_the_order_nor_on_the_others(self, embed):
        together = embed(*SESSIONS)
        torch.testing.assert_close(embed(*SESSIONS[::-1]), together.flip(0), atol=ATOL, rtol=0)
        alone = torch.cat([embed(session) for session in SESSIONS])
        torch.testing.assert_close(alone, together, atol=ATOL, rtol=0)

    def test_action_product_and_order_matter(self, embed):
        vectors = embed([(VIEW, 0), (VIEW, 1)], [(VIEW, 0), (ADD, 1)], [(VIEW, 0), (VIEW, 2)], [(VIEW, 1), (VIEW, 0)])
        assert torch.pdist(vectors).min() > 1e-3


class TestFolder:
    def test_comes_back_with_equal_outputs(self, model, saved, tokenizer, texts):
        again = UserBehaviorModel.from_pretrained(saved)
        batch = session_batch(tokenizer, texts, [(np.array([VIEW, ADD]), np.array([0, 3]))])
        assert not again.training
        assert torch.equal(again(batch), model(batch))

    def test_saved_again_it_is_the_same_byte_by_byte(self, saved, tmp_path_factory):
        # A model's identity is a hash of its content, so writing what was read must change nothing.
        other = tmp_path_factory.mktemp("other")
        UserBehaviorModel.from_pretrained(saved).save_pretrained(other)
        for name in (CONFIG_FILE, WEIGHTS_FILE):
            assert (saved / name).read_bytes() == (other / name).read_bytes()

    @pytest.mark.parametrize("name", [CONFIG_FILE, WEIGHTS_FILE])
    def test_a_missing_file_is_named(self, saved, name):
        (saved / name).unlink()
        with pytest.raises(NotFound, match=f"{name} is missing"):
            UserBehaviorModel.from_pretrained(saved)

    @pytest.mark.parametrize("keep", [0, 7, 500, -1])
    def test_truncated_weights_are_named(self, saved, keep):
        file = saved / WEIGHTS_FILE
        file.write_bytes(file.read_bytes()[:keep])
        with pytest.raises(InvalidData, match="truncated") as caught:
            UserBehaviorModel.from_pretrained(saved)
        assert caught.value.file == file

    @pytest.mark.parametrize(
        ("change", "problem"),
        [
            (lambda weights: weights.pop(sorted(weights)[0]), "is missing, expected"),
            (lambda weights: weights.update(extra=torch.zeros(1)), r"extra is \(1,\), expected no such weights"),
            (lambda weights: weights.update({sorted(weights)[0]: torch.zeros(3)}), r"is \(3,\), expected \(16,\)"),
        ],
    )
    def test_weights_that_do_not_fit_are_named(self, saved, change, problem):
        weights = load_file(saved / WEIGHTS_FILE)
        change(weights)
        save_file(weights, saved / WEIGHTS_FILE)
        with pytest.raises(InvalidData, match=problem) as caught:
            UserBehaviorModel.from_pretrained(saved)
        assert caught.value.file == saved / WEIGHTS_FILE

    @pytest.mark.parametrize("text", ["", "{", "[]", "null", "[" * 100_000, "\ud83d"])
    def test_a_malformed_configuration_is_named(self, saved, text):
        (saved / CONFIG_FILE).write_bytes(text.encode("utf-8", "surrogatepass"))
        with pytest.raises(InvalidData) as caught:
            UserBehaviorModel.from_pretrained(saved)
        assert caught.value.file == saved / CONFIG_FILE

    @pytest.mark.parametrize(
        ("settings", "problem"),
        [
            ({"architecture": "bert"}, "expected architecture 'ubm'"),
            ({"dimension": "16"}, "'dimension': must be an integer, got '16'"),
            ({"dimension": True}, "'dimension': must be an integer, got True"),
            ({"max_interactions": 10**12}, "'max_interactions': must be at most 65536, got 1000000000000"),
            ({"session_layers": 10**9}, "'session_layers': must be at most 128"),
            ({"session_layers": -1}, "'session_layers': must be at least 0, got -1"),
            ({"causal": 1}, "'causal': must be true or false, got 1"),
            ({"causal": "yes"}, "'causal': must be true or false, got 'yes'"),
            ({"causal": None}, "'causal': must be true or false, got None"),
            ({"mean_of_tokens": 0}, "'mean_of_tokens': must be true or false, got 0"),
            ({"num_item_embeddings": -1}, "'num_item_embeddings': must be at least 0, got -1"),
            ({"num_item_embeddings": True}, "'num_item_embeddings': must be an integer"),
            ({"num_item_embeddings": 2.5}, "'num_item_embeddings': must be an integer"),
            ({"num_item_embeddings": 2**31}, "'num_item_embeddings': must be at most 1073741824"),
            ({"task": "nap"}, "'task': must be 'nip', 'pip' or 'rlp', got 'nap'"),
            ({"task": []}, "'task': must be 'nip'"),
            ({"product_tower": 7}, "'product_tower': must be a string, got 7"),
            ({"dropout": "0.1"}, "'dropout': must be a number"),
            ({"dropout": float("nan")}, "'dropout': must be"),
            ({"interaction_encoder": []}, "'interaction_encoder': must be an object"),
            ({"interaction_encoder": {}}, "'bert' or 'electra', got None"),
            ({"unheard": 1}, "unheard"),
        ],
    )
    def test_a_wrong_setting_is_named(self, saved, settings, problem):
        document = json.loads((saved / CONFIG_FILE).read_text())
        (saved / CONFIG_FILE).write_text(json.dumps(document | settings))
        with pytest.raises(InvalidData, match=problem) as caught:
            UserBehaviorModel.from_pretrained(saved)
        assert caught.value.file == saved / CONFIG_FILE

    @pytest.mark.parametrize(
        ("settings", "file"),
        [
            ({"model_type": "gpt2"}, CONFIG_FILE),
            ({"hidden_size": "16"}, CONFIG_FILE),
            ({"hidden_act": "unheard"}, CONFIG_FILE),
            ({"num_attention_heads": 0}, CONFIG_FILE),
            ({"num_hidden_layers": 10**9}, CONFIG_FILE),
            ({"max_position_embeddings": 16}, CONFIG_FILE),
            # Sizes that would fill any memory: refused by the shapes in the weights, before anything is made of them.
            ({"vocab_size": 10**15}, WEIGHTS_FILE),
            ({"hidden_size": 10**9}, WEIGHTS_FILE),
            ({"max_position_embeddings": 10**15}, WEIGHTS_FILE),
        ],
    )
    def test_a_wrong_setting_of_the_encoder_is_named_and_costs_no_memory(self, saved, settings, file):
        document = json.loads((saved / CONFIG_FILE).read_text())
        document["interaction_encoder"] |= settings
        (saved / CONFIG_FILE).write_text(json.dumps(document))
        with pytest.raises(InvalidData) as caught:
            UserBehaviorModel.from_pretrained(saved)
        assert caught.value.file == saved / file

    @pytest.mark.parametrize("settings", [{"dtype": "float16"}, {"return_dict": False}, {"output_attentions": True}])
    def test_settings_of_how_transformers_runs_change_nothing(self, saved, settings, model, tokenizer, texts):
        document = json.loads((saved / CONFIG_FILE).read_text())
        document["interaction_encoder"] |= settings
        (saved / CONFIG_FILE).write_text(json.dumps(document))
        batch = session_batch(tokenizer, texts, [(np.array([VIEW]), np.array([0]))])
        assert torch.equal(UserBehaviorModel.from_pretrained(saved)(batch), model(batch))


class TestItemEmbeddings:
    """Product texts with a vector of their own, besides their words."""

    @pytest.fixture
    def enriched(self, model, tokenizer, texts):
        """Has vectors for the first three products."""
        model.add_item_embeddings(texts.take(np.arange(3)), tokenizer)
        torch.nn.init.normal_(model.interaction_encoder.item_embeddings.vectors)
        return model.eval()

    @pytest.fixture
    def batch(self, tokenizer, texts):
        return session_batch(tokenizer, texts, [(np.array([VIEW, ADD, NO_ACTION]), np.array([0, 2, 5]))])

    def test_come_back_with_equal_outputs(self, enriched, batch, tmp_path):
        enriched.save_pretrained(tmp_path)
        again = UserBehaviorModel.from_pretrained(tmp_path)
        assert again.config.num_item_embeddings == enriched.config.num_item_embeddings == 3
        assert torch.equal(again(batch), enriched(batch))
        (tmp_path / "again").mkdir()
        again.save_pretrained(tmp_path / "again")
        for name in (CONFIG_FILE, WEIGHTS_FILE):
            assert (tmp_path / name).read_bytes() == (tmp_path / "again" / name).read_bytes()

    @pytest.mark.parametrize("removals", [True, False])
    def test_go_with_removals_where_those_have_a_token(
        self, model, texts, tokenizer, removal_tokenizer, tmp_path, removals
    ):
        reader = removal_tokenizer if removals else tokenizer
        model.add_item_embeddings(texts.take(np.arange(3)), reader)
        model.save_pretrained(tmp_path)
        again = UserBehaviorModel.from_pretrained(tmp_path)
        actions = np.arange(reader.actions.size)
        sequences = interaction_sequences(reader, texts, actions, np.zeros_like(actions))
        assert again.interaction_encoder.item_embeddings.find(TokenBatch.from_table(sequences))[1].all()
        document = json.loads((tmp_path / CONFIG_FILE).read_text())
        assert document.get("num_actions") == (5 if removals else None), "the paper's four are not written"

    @torch.no_grad()
    def test_are_added_to_the_words_and_leave_other_texts_alone(self, enriched, batch, tokenizer, texts):
        vectors = enriched.interaction_encoder(batch.tokens)[batch.index]
        embeddings = enriched.interaction_encoder.item_embeddings
        enriched.interaction_encoder.item_embeddings = None
        words = enriched.interaction_encoder(batch.tokens)[batch.index]
        row, has_vector = embeddings.find(batch.tokens)
        expected = torch.where(has_vector[:, None], embeddings.vectors[row], 0.0)[batch.index]
        torch.testing.assert_close(vectors, words + expected)
        assert has_vector[batch.index].tolist() == [True, True, False]

    def test_at_first_they_change_nothing(self, model, batch, tokenizer, texts):
        before = model(batch)
        model.add_item_embeddings(texts, tokenizer)
        assert torch.equal(model(batch), before)

    def test_texts_that_are_added_again_keep_their_vectors(self, enriched, batch, tokenizer, texts):
        before = enriched(batch)
        enriched.add_item_embeddings(texts.take(np.arange(2, 7)), tokenizer)
        assert enriched.config.num_item_embeddings == 7
        assert torch.equal(enriched.eval()(batch), before)

    def test_a_folder_of_version_0_1_opens_with_equal_outputs(self, enriched, batch, tmp_path):
        enriched.save_pretrained(tmp_path)
        document = json.loads((tmp_path / CONFIG_FILE).read_text())
        document["known_texts"] = document.pop("num_item_embeddings")
        (tmp_path / CONFIG_FILE).write_text(json.dumps(document))
        weights = load_file(tmp_path / WEIGHTS_FILE)
        save_file(
            {name.replace(".item_embeddings.", ".known."): tensor for name, tensor in weights.items()},
            tmp_path / WEIGHTS_FILE,
        )
        again = UserBehaviorModel.from_pretrained(tmp_path)
        assert again.config.num_item_embeddings == 3
        assert torch.equal(again(batch), enriched(batch))

    def test_go_with_a_copy_for_a_task(self, enriched, batch):
        assert torch.equal(enriched.fine_tuned(task=Task.PIP).eval()(batch), enriched(batch))

    @pytest.mark.parametrize("count", [0, 2, 4, 1 << 30])
    def test_another_count_than_the_weights_have_is_named_and_costs_no_memory(self, enriched, tmp_path, count):
        enriched.save_pretrained(tmp_path)
        document = json.loads((tmp_path / CONFIG_FILE).read_text())
        (tmp_path / CONFIG_FILE).write_text(json.dumps(document | {"num_item_embeddings": count}))
        with pytest.raises(InvalidData, match=r"interaction_encoder\.item_embeddings\.\w+ is .*, expected") as caught:
            UserBehaviorModel.from_pretrained(tmp_path)
        assert caught.value.file == tmp_path / WEIGHTS_FILE


class TestCausalAndMeanOfTokens:
    @pytest.fixture
    def made(self, tokenizer, stir):
        sizes = {"layers": 1, "width": 16, "dimension": 16, "session_layers": 1}
        built = UserBehaviorModel.from_scratch(
            vocab_size=tokenizer.vocab_size, causal=True, mean_of_tokens=True, **sizes
        )
        return built.eval()

    def test_come_back_with_equal_outputs(self, made, stir, tokenizer, texts, tmp_path):
        stir(made)
        made.save_pretrained(tmp_path)
        again = UserBehaviorModel.from_pretrained(tmp_path)
        assert (again.config.causal, again.config.mean_of_tokens) == (True, True)
        batch = session_batch(tokenizer, texts, [(np.array([VIEW, ADD]), np.array([0, 3])), (np.array([VIEW]),) * 2])
        assert torch.equal(again(batch), made(batch))
        both_ways = UserBehaviorModel(made.config.replace(causal=False), made.interaction_encoder)
        both_ways.session_encoder.load_state_dict(made.session_encoder.state_dict())
        assert not torch.allclose(both_ways.eval()(batch), made(batch), atol=1e-3)

    @torch.no_grad()
    def test_a_fresh_one_starts_as_its_words(self, made, tokenizer, texts):
        batch = session_batch(tokenizer, texts, [(np.array([NO_ACTION]), np.array([0]))])
        text = torch.tensor([[tokenizer.cls, *texts.row(0), tokenizer.sep]])
        expected = made.interaction_encoder.encoder.embeddings(text).mean(dim=1)
        torch.testing.assert_close(made.interaction_encoder(batch.tokens), expected, atol=ATOL, rtol=0)

    def test_a_configuration_without_them_is_the_papers(self, saved, model):
        document = json.loads((saved / CONFIG_FILE).read_text())
        for name in ("causal", "mean_of_tokens", "num_item_embeddings"):
            del document[name]
        (saved / CONFIG_FILE).write_text(json.dumps(document))
        again = UserBehaviorModel.from_pretrained(saved)
        assert (again.config.causal, again.config.mean_of_tokens, again.config.num_item_embeddings) == (False, False, 0)


class TestWithoutSessionLayers:
    def test_a_session_is_the_mean_of_its_interactions(self, tokenizer, texts, tmp_path):
        model = UserBehaviorModel.from_scratch(
            vocab_size=tokenizer.vocab_size, layers=1, width=16, dimension=16, session_layers=0
        ).eval()
        model.save_pretrained(tmp_path)
        again = UserBehaviorModel.from_pretrained(tmp_path)
        batch = session_batch(tokenizer, texts, [(np.array([VIEW, ADD, VIEW]), np.array([0, 3, 0]))])
        with torch.no_grad():
            different = model.interaction_encoder(batch.tokens)
            torch.testing.assert_close(again(batch)[0], different[batch.index].mean(dim=0))


class TestFineTuned:
    @pytest.fixture
    def batch(self, tokenizer, texts):
        return session_batch(tokenizer, texts, [(np.array([VIEW, ADD]), np.array([0, 3])), (np.array([VIEW]),) * 2])

    @pytest.mark.parametrize(
        ("task", "head"), [(Task.NIP, None), (Task.PIP, PurchaseIntentionHead), (Task.RLP, RemainingLengthHead)]
    )
    def test_is_a_copy_with_the_task_s_head(self, model, batch, task, head):
        tuned = model.fine_tuned(task=task, product_tower="0123").eval()
        assert (tuned.config.task, tuned.config.product_tower) == (task, "0123")
        assert type(tuned.head) is (head or type(None))
        assert torch.equal(tuned(batch), model(batch))
        assert (model.config.task, model.head) == (None, None)

    def test_training_the_copy_leaves_the_model_alone(self, model, batch, stir):
        before = model(batch)
        tuned = model.fine_tuned(task=Task.RLP)
        stir(tuned)
        assert torch.equal(model(batch), before)
        assert not torch.allclose(tuned.eval()(batch), before)

    def test_a_tuned_model_tuned_again_has_a_fresh_head(self, model, batch):
        again = model.fine_tuned(task=Task.PIP).fine_tuned(task=Task.RLP)
        assert isinstance(again.head, RemainingLengthHead)
        torch.manual_seed(1)
        first = model.fine_tuned(task=Task.PIP)
        second = first.fine_tuned(task=Task.PIP)
        assert not torch.equal(first.head.layers[0].weight, second.head.layers[0].weight)
        assert torch.equal(again.eval()(batch), model(batch))

    def test_repeatable_from_torch_s_generator(self, model):
        heads = []
        for _ in range(2):
            torch.manual_seed(4)
            heads.append(model.fine_tuned(task=Task.PIP).head.state_dict())
        assert all(torch.equal(weights, heads[1][name]) for name, weights in heads[0].items())

    @pytest.mark.parametrize("task", [Task.PIP, Task.RLP])
    def test_the_head_comes_back_with_its_buffers(self, model, tmp_path, task):
        tuned = model.fine_tuned(task=task)
        for number, buffer in enumerate(tuned.head.buffers()):
            buffer.fill_(0.25 + number)
        tuned.save_pretrained(tmp_path)
        again = UserBehaviorModel.from_pretrained(tmp_path)
        assert (again.config.task, again.config.product_tower) == (task, None)
        sessions = torch.randn(3, 16)
        assert torch.equal(again.head.predict(sessions), tuned.head.predict(sessions))

    def test_the_head_of_version_0_1_opens(self, model, tmp_path):
        tuned = model.fine_tuned(task=Task.RLP)
        tuned.head.std.fill_(3.5)
        tuned.save_pretrained(tmp_path)
        weights = load_file(tmp_path / WEIGHTS_FILE)
        weights["head.spread"] = weights.pop("head.std")
        save_file(weights, tmp_path / WEIGHTS_FILE)
        assert float(UserBehaviorModel.from_pretrained(tmp_path).head.std) == 3.5

    def test_a_head_without_weights_is_named(self, saved):
        document = json.loads((saved / CONFIG_FILE).read_text())
        (saved / CONFIG_FILE).write_text(json.dumps(document | {"task": "rlp"}))
        with pytest.raises(InvalidData, match=r"head\.\S+ is missing, expected"):
            UserBehaviorModel.from_pretrained(saved)


class TestFromBert:
    @pytest.fixture(params=["bert", "electra"])
    def checkpoint(self, request, tmp_path, tokenizer):
        sizes = {
            "vocab_size": tokenizer.vocab_size - 4,
            "hidden_size": 24,
            "num_hidden_layers": 3,
            "num_attention_heads": 2,
            "intermediate_size": 32,
            "max_position_embeddings": 64,
        }
        if request.param == "bert":
            BertModel(BertConfig(**sizes)).save_pretrained(tmp_path / "bert")
        else:
            ElectraForPreTraining(ElectraConfig(**sizes, embedding_size=8)).save_pretrained(tmp_path / "bert")
        return tmp_path / "bert"

    def test_makes_a_model_that_comes_back(self, checkpoint, tokenizer, texts, tmp_path):
        model = UserBehaviorModel.from_bert(
            checkpoint, vocab_size=tokenizer.vocab_size, layers=2, dropout=0.2, dimension=16, session_layers=1
        ).eval()
        batch = session_batch(tokenizer, texts, [(np.array([VIEW, ADD]), np.array([0, 3])), (np.array([VIEW]),) * 2])
        assert model(batch).shape == (2, 16)
        assert model.config.interaction_encoder["num_hidden_layers"] == 2
        assert model.config.interaction_encoder["hidden_dropout_prob"] == model.config.dropout == 0.2
        assert str(tmp_path) not in json.dumps(model.config.interaction_encoder)
        (tmp_path / "ubm").mkdir()
        model.save_pretrained(tmp_path / "ubm")
        again = UserBehaviorModel.from_pretrained(tmp_path / "ubm")
        assert again.config == model.config
        assert torch.equal(again(batch), model(batch))


class TestFromScratch:
    def test_is_the_papers_model_and_repeatable(self):
        torch.manual_seed(3)
        model = UserBehaviorModel.from_scratch(vocab_size=50, layers=1, session_layers=1)
        torch.manual_seed(3)
        same = UserBehaviorModel.from_scratch(vocab_size=50, layers=1, session_layers=1)
        assert (model.config.dimension, model.config.max_interactions) == (256, 32)
        assert all(torch.equal(value, same.state_dict()[key]) for key, value in model.state_dict().items())
        assert model.device == torch.device("cpu")


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"dimension": 0}, "dimension must be at least 1, got 0"),
        ({"session_heads": 3}, "multiple of session_heads"),
        ({"dimension": 5, "session_heads": 5}, "dimension must be even"),
        ({"dropout": 1.0}, "dropout must be below 1, got 1.0"),
    ],
)
def test_a_configuration_names_the_setting_and_its_value(settings, problem):
    with pytest.raises(ValueError, match=problem):
        UBMConfig(**settings)
