"""A model folder: its identity, and that a damaged one does not open."""

import json
import shutil

import pytest
import torch

from ubm_embed.data.batches.distinct_batches import session_batch
from ubm_embed.data.tasks.task import Task
from ubm_embed.data.text.tokenizer import TOKENIZER_FILE, InteractionTokenizer
from ubm_embed.errors import Conflict, InvalidData, NotFound
from ubm_embed.model.checkpoint import Checkpoint, save_checkpoint
from ubm_embed.model.config import CONFIG_FILE
from ubm_embed.model.folder import PRODUCT_TOWER, RECORD_FILE, WEIGHTS_FILE, copy_checkpoint, model_id_of, require_task
from ubm_embed.model.user_behavior_model import UserBehaviorModel

RECORD = {"pretraining": {"holdout": 0.1}, "products": 8}


@pytest.fixture
def folder(model, tokenizer, tmp_path):
    save_checkpoint(tmp_path, model, tokenizer, RECORD)
    return tmp_path


def other_tokenizer(words):
    texts = [" ".join(f"word{chr(97 + number % 26)}{number}" for number in range(words))] * 2
    return InteractionTokenizer.train(texts, [], vocab_size=words + 100)


class TestRoundTrip:
    def test_a_folder_opens_to_the_same_model(self, folder, model, tokenizer, products):
        checkpoint = Checkpoint.from_pretrained(folder)
        texts = checkpoint.tokenizer.product_texts(products)
        assert texts.ids.tolist() == tokenizer.product_texts(products).ids.tolist()
        batch = session_batch(tokenizer, texts, [(torch.tensor([1, 2]).numpy(), torch.tensor([0, 3]).numpy())])
        assert torch.equal(checkpoint.model(batch), model(batch))
        assert not checkpoint.model.training

    def test_the_record_comes_back_with_the_id(self, folder, model, tokenizer, tmp_path_factory):
        checkpoint = Checkpoint.from_pretrained(folder)
        assert checkpoint.record == {**RECORD, "model_id": checkpoint.model_id}
        elsewhere = tmp_path_factory.mktemp("elsewhere")
        assert save_checkpoint(elsewhere, model, tokenizer, {}) == checkpoint.model_id

    def test_a_record_taken_over_from_another_model_names_this_one(self, folder, tokenizer, model, stir):
        record = Checkpoint.from_pretrained(folder).record
        stir(model)
        model_id = save_checkpoint(folder, model, tokenizer, record)
        assert model_id != record["model_id"]
        assert Checkpoint.from_pretrained(folder).record == {**RECORD, "model_id": model_id}

    def test_saved_again_it_is_the_same_model(self, folder, tmp_path_factory):
        checkpoint = Checkpoint.from_pretrained(folder)
        again = tmp_path_factory.mktemp("again")
        assert save_checkpoint(again, checkpoint.model, checkpoint.tokenizer, {}) == checkpoint.model_id


class TestModelId:
    def test_is_16_hexadecimal_digits(self, folder):
        model_id = model_id_of(folder)
        assert len(model_id) == 16
        assert set(model_id) <= set("0123456789abcdef")

    def test_does_not_depend_on_the_record_or_the_place(self, folder, tmp_path_factory):
        before = model_id_of(folder)
        (folder / RECORD_FILE).write_text("{}")
        (folder / "metrics.jsonl").touch()
        moved = shutil.copytree(folder, tmp_path_factory.mktemp("moved") / "model")
        assert model_id_of(folder) == model_id_of(moved) == before

    def test_depends_on_every_weight(self, folder, model, tokenizer):
        before = model_id_of(folder)
        with torch.no_grad():
            next(reversed(list(model.parameters())))[..., -1] += 1e-6
        assert save_checkpoint(folder, model, tokenizer, RECORD) != before

    def test_depends_on_the_settings(self, folder):
        before = model_id_of(folder)
        config = json.loads((folder / CONFIG_FILE).read_text())
        (folder / CONFIG_FILE).write_text(json.dumps(config | {"max_interactions": 7}))
        assert model_id_of(folder) != before

    def test_depends_on_the_vocabulary(self, folder, model):
        before = model_id_of(folder)
        assert save_checkpoint(folder, model, other_tokenizer(50), RECORD) != before


@pytest.fixture
def session_tower(folder, model, tokenizer, tmp_path_factory):
    """A folder with a session tower, trained against the vectors of the model in `folder`."""
    base = Checkpoint.from_pretrained(folder)
    folder = tmp_path_factory.mktemp("towers") / "model"
    folder.mkdir()
    save_checkpoint(folder, model.fine_tuned(task=Task.NIP, product_tower=base.model_id), tokenizer, RECORD, base)
    return folder


def contents(folder):
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


class TestProductTower:
    def test_opens_beside_the_model(self, session_tower, folder):
        checkpoint = Checkpoint.from_pretrained(session_tower)
        assert checkpoint.product_tower.model_id == model_id_of(folder)
        assert checkpoint.products is checkpoint.product_tower
        assert checkpoint.products.folder == session_tower / PRODUCT_TOWER
        assert contents(session_tower / PRODUCT_TOWER) == contents(folder)

    def test_a_model_without_one_reads_products_itself(self, folder):
        checkpoint = Checkpoint.from_pretrained(folder)
        assert checkpoint.product_tower is None
        assert checkpoint.products is checkpoint

    def test_the_id_changes_with_it(self, session_tower, model, tokenizer):
        before = model_id_of(session_tower)
        for other in ("0" * 16, None):
            tuned = model.fine_tuned(task=Task.NIP, product_tower=other)
            assert save_checkpoint(session_tower, tuned, tokenizer, RECORD) != before

    def test_a_missing_one_is_named(self, session_tower, folder):
        shutil.rmtree(session_tower / PRODUCT_TOWER)
        problem = f"{PRODUCT_TOWER}, the model {model_id_of(folder)} that reads products, is missing"
        with pytest.raises(NotFound, match=problem):
            Checkpoint.from_pretrained(session_tower)

    def test_another_one_is_refused(self, session_tower, model, tokenizer, stir):
        expected = model_id_of(session_tower / PRODUCT_TOWER)
        stir(model)
        other = save_checkpoint(session_tower / PRODUCT_TOWER, model, tokenizer, {})
        with pytest.raises(Conflict, match="these towers do not belong together") as caught:
            Checkpoint.from_pretrained(session_tower)
        assert expected in str(caught.value)
        assert other in str(caught.value)

    def test_one_of_another_width_is_refused(self, model, tokenizer, tmp_path):
        (tmp_path / "narrow").mkdir()
        (tmp_path / "towers").mkdir()
        narrow = UserBehaviorModel.from_scratch(
            vocab_size=tokenizer.vocab_size, layers=1, width=16, dimension=8, session_layers=1
        )
        save_checkpoint(tmp_path / "narrow", narrow, tokenizer, {})
        base = Checkpoint.from_pretrained(tmp_path / "narrow")
        tuned = model.fine_tuned(task=Task.NIP, product_tower=base.model_id)
        save_checkpoint(tmp_path / "towers", tuned, tokenizer, {}, base)
        with pytest.raises(InvalidData, match="its vectors have width 8, those of sessions 16") as caught:
            Checkpoint.from_pretrained(tmp_path / "towers")
        assert caught.value.file == tmp_path / "towers" / PRODUCT_TOWER

    def test_a_damaged_one_is_named(self, session_tower):
        file = session_tower / PRODUCT_TOWER / WEIGHTS_FILE
        file.write_bytes(file.read_bytes()[:100])
        with pytest.raises(InvalidData) as caught:
            Checkpoint.from_pretrained(session_tower)
        assert caught.value.file == file

    def test_copied_byte_for_byte(self, session_tower, tmp_path_factory):
        (session_tower / "metrics.jsonl").write_text("{}\n")
        to = tmp_path_factory.mktemp("copies") / "copy"
        copy_checkpoint(session_tower, to)
        assert contents(to) == contents(session_tower)
        assert f"{PRODUCT_TOWER}/{WEIGHTS_FILE}" in contents(to)
        assert Checkpoint.from_pretrained(to).model_id == model_id_of(session_tower)


def test_a_model_of_the_version_before_opens_under_its_old_id(folder):
    # Its configuration knew neither tasks nor towers.
    config = json.loads((folder / CONFIG_FILE).read_text())
    old = {name: value for name, value in config.items() if name not in ("task", "product_tower")}
    (folder / CONFIG_FILE).write_text(json.dumps(old))
    (folder / RECORD_FILE).write_text(json.dumps({"model_id": model_id_of(folder)}))
    checkpoint = Checkpoint.from_pretrained(folder)
    assert checkpoint.model_id == model_id_of(folder)
    assert (checkpoint.model.head, checkpoint.model.config.task, checkpoint.product_tower) == (None, None, None)
    require_task(checkpoint, Task.NIP)


def flip_a_bit_of_the_weights(folder):
    content = bytearray((folder / WEIGHTS_FILE).read_bytes())
    content[-1] ^= 4
    (folder / WEIGHTS_FILE).write_bytes(content)


def test_weights_that_rotted_are_not_taken_for_another_model(folder):
    flip_a_bit_of_the_weights(folder)
    with pytest.raises(Conflict, match=r"its files are those of .* damaged"):
        Checkpoint.from_pretrained(folder)


def test_a_model_that_was_changed_on_purpose_opens_once_its_record_names_no_id(folder):
    flip_a_bit_of_the_weights(folder)
    (folder / RECORD_FILE).write_text("{}")
    assert Checkpoint.from_pretrained(folder).model_id == model_id_of(folder)


class TestRequireTask:
    @pytest.mark.parametrize("task", Task)
    def test_a_model_serves_the_task_it_was_tuned_for_and_no_other(self, model, tokenizer, task):
        checkpoint = Checkpoint(model.fine_tuned(task=task), tokenizer, "toy")
        require_task(checkpoint, task)
        for other in set(Task) - {task}:
            with pytest.raises(InvalidData, match=f"the model was fine-tuned for {task}, not for {other}"):
                require_task(checkpoint, other)

    @pytest.mark.parametrize("task", [Task.PIP, Task.RLP])
    def test_one_without_a_head_names_the_command(self, folder, task):
        checkpoint = Checkpoint.from_pretrained(folder)
        with pytest.raises(InvalidData, match=f"no head for {task}: .* `ubm-embed finetune {task}`") as caught:
            require_task(checkpoint, task)
        assert (caught.value.file, caught.value.field) == (folder / CONFIG_FILE, "task")

    def test_one_without_a_head_predicts_the_next_item(self, model, tokenizer):
        require_task(Checkpoint(model, tokenizer, "toy"), Task.NIP)


class TestDamage:
    @pytest.mark.parametrize("name", [CONFIG_FILE, WEIGHTS_FILE, TOKENIZER_FILE])
    def test_a_missing_file_is_named(self, folder, name):
        (folder / name).unlink()
        with pytest.raises(NotFound, match=name):
            Checkpoint.from_pretrained(folder)

    def test_a_missing_record_is_empty(self, folder):
        (folder / RECORD_FILE).unlink()
        assert Checkpoint.from_pretrained(folder).record == {}

    @pytest.mark.parametrize("name", [WEIGHTS_FILE, TOKENIZER_FILE, CONFIG_FILE])
    @pytest.mark.parametrize("keep", [0, 0.5, 0.99])
    def test_a_truncated_file_is_named(self, folder, name, keep):
        file = folder / name
        content = file.read_bytes()
        file.write_bytes(content[: int(keep * len(content))])
        with pytest.raises(InvalidData) as caught:
            Checkpoint.from_pretrained(folder)
        assert caught.value.file == file

    def test_a_tokenizer_with_more_tokens_than_the_model_is_named(self, folder, model, tokenizer):
        tokenizer_of_another = other_tokenizer(tokenizer.vocab_size + 50)
        tokenizer_of_another.save_pretrained(folder)
        problem = f"{tokenizer_of_another.vocab_size} tokens for a model of {tokenizer.vocab_size}"
        with pytest.raises(InvalidData, match=problem) as caught:
            Checkpoint.from_pretrained(folder)
        assert caught.value.file == folder / TOKENIZER_FILE

    def test_a_model_may_have_more_rows_than_its_tokenizer_has_tokens(self, tokenizer, tmp_path):
        # A BERT checkpoint keeps its own.
        model = UserBehaviorModel.from_scratch(vocab_size=tokenizer.vocab_size + 9, layers=1, width=16, dimension=16)
        save_checkpoint(tmp_path, model, tokenizer, {})
        assert Checkpoint.from_pretrained(tmp_path).tokenizer.vocab_size == tokenizer.vocab_size

    @pytest.mark.parametrize(
        ("text", "problem"),
        [("", "not JSON"), ("{", "not JSON"), ("[]", "object"), ("[" * 100_000, "not JSON"), ("\ud83d", "not JSON")],
    )
    def test_a_malformed_record_is_named(self, folder, text, problem):
        (folder / RECORD_FILE).write_bytes(text.encode("utf-8", "surrogatepass"))
        with pytest.raises(InvalidData, match=problem) as caught:
            Checkpoint.from_pretrained(folder)
        assert caught.value.file == folder / RECORD_FILE

    def test_no_folder_at_all(self, tmp_path):
        with pytest.raises(NotFound, match="no model at"):
            Checkpoint.from_pretrained(tmp_path / "gone")
