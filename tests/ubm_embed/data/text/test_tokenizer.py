import json
import os
import subprocess
import sys
from typing import ClassVar

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, normalizers

from ubm_embed.data.corpus import PRODUCT_SCHEMA, iter_products
from ubm_embed.data.session import Product
from ubm_embed.data.text.tokenizer import (
    ACTION_MARKS,
    MAX_ATTRIBUTE_NAMES,
    MAX_TEXT_TOKENS,
    MAX_TITLE_TOKENS,
    RESERVED,
    TEXT_MARKS,
    TOKENIZER_FILE,
    WORD_MARKS,
    InteractionTokenizer,
    attribute_mark,
    attribute_names,
    training_texts,
)
from ubm_embed.errors import InvalidData, NotFound

# Shop text with marks in it, in the hope that one is read as such.
SHOP_TEXT = st.lists(
    st.sampled_from([*sorted(RESERVED), "[COLOUR]", "[unused1]", "##s", "red", "shoes", "靴", "é", "\x00"])
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
    max_size=40,
).map(" ".join)
BERT_WORDS = ["[PAD]", "[unused1]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "red", "shoe", "##s", "[", "]", "buy", "Red"]


@pytest.fixture
def bert_folder(tmp_path):
    (tmp_path / "vocab.txt").write_text("\n".join(BERT_WORDS) + "\n", "utf-8")
    return tmp_path


def frame(*products):
    rows = [
        {
            "product_id": str(number),
            "title": product.title,
            "category": product.category,
            "attributes": [{"name": name, "value": value} for name, value in product.attributes],
        }
        for number, product in enumerate(products)
    ]
    return pl.DataFrame(rows, schema=PRODUCT_SCHEMA)


def special_tokens(tokenizer, ids):
    return [tokenizer.tokens([number])[0] for number in ids if not tokenizer.is_word[number]]


@given(title=SHOP_TEXT, category=SHOP_TEXT, value=SHOP_TEXT)
def test_no_mark_is_read_out_of_a_shop_s_text(tokenizer, title, category, value):
    ids = tokenizer.product_text(Product(title, category, (("colour", value),)))
    expected = [mark for mark, text in (("[TITLE]", title), ("[CATEGORY]", category), ("[COLOUR]", value)) if text]
    result = [token for token in special_tokens(tokenizer, ids) if token != "[UNK]"]
    assert result == expected[: len(result)]
    phrase = tokenizer.search_phrases([title]).row(0)
    assert set(special_tokens(tokenizer, phrase)) <= {"[UNK]"}


@given(title=SHOP_TEXT, category=SHOP_TEXT, value=SHOP_TEXT)
def test_lengths_stay_within_the_limits(tokenizer, title, category, value):
    text = tokenizer.product_text(Product(title, category, (("colour", value), ("size", value))))
    assert text.size <= MAX_TEXT_TOKENS
    assert tokenizer.product_text(Product(title)).size <= 1 + MAX_TITLE_TOKENS
    assert tokenizer.search_phrases([title]).row(0).size <= MAX_TEXT_TOKENS


ATTRIBUTES = st.lists(st.tuples(st.sampled_from(["colour", "Size", "", "never seen"]), SHOP_TEXT), max_size=4).map(
    tuple
)


@given(
    products=st.lists(
        st.builds(Product, title=SHOP_TEXT, category=st.none() | SHOP_TEXT, attributes=ATTRIBUTES), max_size=3
    )
)
def test_one_text_has_one_sequence_wherever_it_is_read(tokenizer, products):
    table = tokenizer.product_texts(frame(*products))
    rows = [table.row(index).tolist() for index in range(len(table))]
    assert rows == [tokenizer.product_text(product).tolist() for product in products]


@given(texts=st.lists(SHOP_TEXT, max_size=6))
@pytest.mark.parametrize(
    "normalizer",
    [
        normalizers.BertNormalizer(lowercase=True),
        normalizers.BertNormalizer(lowercase=False, strip_accents=False, clean_text=False),
        normalizers.Replace("red shoes", "shirt"),  # looks further than a word
        None,
    ],
    ids=["lower case", "as it stands", "across words", "none"],
)
def test_many_texts_have_the_tokens_that_each_has_by_itself(tokenizer, normalizer, texts):
    library = Tokenizer.from_str(tokenizer._tokenizer.to_str())
    library.normalizer = normalizer
    table = InteractionTokenizer(library).search_phrases(pl.Series(texts, dtype=pl.String))
    expected = [library.encode(text, add_special_tokens=False).ids[:MAX_TEXT_TOKENS] for text in texts]
    assert [table.row(index).tolist() for index in range(len(texts))] == expected


def test_a_product_s_text_is_title_category_attributes(tokenizer):
    product = Product("red shoes", "shirts", (("Colour", "blue"), ("Never seen", "42"), ("size", "")))
    assert tokenizer.tokens(tokenizer.product_text(product)) == [
        *("[TITLE]", "red", "shoes"),
        *("[CATEGORY]", "shirts"),
        *("[COLOUR]", "blue"),
        *("[ATTRIBUTE]", "42"),
    ]


def test_absent_parts_have_no_mark(tokenizer):
    assert tokenizer.tokens(tokenizer.product_text(Product("", None, (("size", "42"),)))) == ["[SIZE]", "42"]
    assert tokenizer.product_text(Product("")).size == 0


def test_a_title_gives_its_first_32_tokens(tokenizer):
    tokens = tokenizer.tokens(tokenizer.product_text(Product("red " * 31 + "blue shirt shirt", "shoes")))
    assert tokens == ["[TITLE]", *["red"] * 31, "blue", "[CATEGORY]", "shoes"]


def test_a_long_text_is_cut_at_its_end(tokenizer):
    attributes = tuple(("size", "42 " * 10) for _ in range(9))
    whole = tokenizer.product_text(Product("red", "shoes", attributes))
    assert whole.size == MAX_TEXT_TOKENS
    assert tokenizer.tokens(whole[:5]) == ["[TITLE]", "red", "[CATEGORY]", "shoes", "[SIZE]"]


def test_case_and_accents_make_no_difference(tokenizer):
    phrases = tokenizer.search_phrases(["Red SHOES", "réd shoes", "red shoes"])
    assert len(phrases.distinct()[0]) == 1


def test_a_frame_without_rows_has_no_texts(tokenizer):
    assert len(tokenizer.product_texts(frame())) == 0


def test_actions_are_numbered_by_code(tokenizer):
    assert tokenizer.tokens(tokenizer.actions) == list(ACTION_MARKS)
    assert not tokenizer.is_word[tokenizer.actions].any()


def test_words_are_distinguished_from_marks(tokenizer):
    assert tokenizer.is_word.size == tokenizer.vocab_size
    red = tokenizer.search_phrases(["red"]).row(0)
    assert tokenizer.is_word[red].all()
    assert not tokenizer.is_word[[tokenizer.cls, tokenizer.sep, tokenizer.mask]].any()


def test_an_unknown_id_is_a_question_mark(tokenizer):
    assert tokenizer.tokens([tokenizer.vocab_size]) == ["?"]


class TestAttributeMarks:
    @pytest.mark.parametrize(
        ("name", "mark"),
        [
            ("Shoe  size", "[SHOE SIZE]"),
            ("colour\n", "[COLOUR]"),
            ("buy", "[ATTRIBUTE]"),  # else a shop's attribute would read as an action
            ("Title", "[ATTRIBUTE]"),
            (" ", "[ATTRIBUTE]"),
        ],
    )
    def test_of_a_name(self, name, mark):
        assert attribute_mark(name) == mark

    def test_names_rank_by_frequency_then_alphabet_across_spellings(self, products):
        assert attribute_names(products) == ["COLOUR", "SIZE", "MATERIAL"]
        spelled = frame(
            Product("a", None, (("b", "1"), ("Size", "1"))), Product("a", None, (("SIZE ", "1"), ("a", "1")))
        )
        assert attribute_names(spelled) == ["SIZE", "A", "B"]

    def test_names_are_limited_and_never_a_mark(self):
        many = tuple((f"name {number:04}", "x") for number in range(MAX_ATTRIBUTE_NAMES + 5))
        names = attribute_names(frame(Product("a", None, (*many, ("buy", "x")))))
        assert names == [f"NAME {number:04}" for number in range(MAX_ATTRIBUTE_NAMES)]

    def test_of_products_without_attributes(self):
        assert attribute_names(frame(Product("a"))) == []


class TestTraining:
    # More letters than a vocabulary takes, each as often as the next: the trainer's own order is that of a hash.
    PROGRAM = """if True:
        from ubm_embed.data.text.tokenizer import InteractionTokenizer
        letters = [chr(0x4E00 + number) for number in range(300)]
        texts = ["".join(letters[(3 * n + k) % 300] for k in range(3)) for n in range(600)] + ["red reds redder"] * 3
        tokenizer = InteractionTokenizer.train(texts, ["Colour"], vocab_size=400)
        print([*map(ord, "".join(tokenizer.tokens(range(tokenizer.vocab_size))))])
    """

    def test_does_not_depend_on_hash_order(self):
        runs = [
            subprocess.run(
                [sys.executable, "-c", self.PROGRAM],
                env=os.environ | {"PYTHONHASHSEED": seed},
                capture_output=True,
                text=True,
                check=True,
            ).stdout
            for seed in ("1", "2")
        ]
        assert runs[0] == runs[1]
        assert len(runs[0]) > 1000

    @pytest.mark.parametrize("size", [15, 20, 40, 60, 200])
    def test_keeps_to_the_given_size(self, products, size):
        trained = InteractionTokenizer.train([*training_texts(products)] * 3, ["colour"], vocab_size=size)
        assert trained.vocab_size <= size
        assert trained.tokens(range(trained.vocab_size)).count("[COLOUR]") == 1

    def test_learns_frequent_words_whole(self, products):
        trained = InteractionTokenizer.train([*training_texts(products, ["yellow hat"])] * 3, [], vocab_size=256)
        assert trained.tokens(trained.search_phrases(["yellow shoes"]).row(0)) == ["yellow", "shoes"]

    def test_of_ideographs_spends_nothing_on_letters_inside_words(self):
        trained = InteractionTokenizer.train(["红色运动鞋", "蓝色衬衫"] * 2, [], vocab_size=100)
        assert not [token for token in trained.tokens(range(trained.vocab_size)) if token.startswith("##")]
        assert trained.tokens(trained.search_phrases(["红鞋"]).row(0)) == ["红", "鞋"]

    def test_without_room_for_a_word_is_the_caller_s_mistake(self):
        with pytest.raises(ValueError, match="vocab_size must be at least 15 for 13 marks, got 14"):
            InteractionTokenizer.train(["red"], ["colour"], vocab_size=14)


class TestRemovals:
    """The token of a fifth action, which only some vocabularies have."""

    TEXTS: ClassVar = ["red shoes", "blue shirt"] * 2
    NAMED_REMOVE = Product("", attributes=(("Remove", "red"),))

    def train(self, names=(), *, removals):
        return InteractionTokenizer.train(self.TEXTS, names, vocab_size=60, removals=removals)

    def test_have_a_token_where_that_was_asked_for(self, tmp_path):
        trained = self.train(removals=True)
        trained.save_pretrained(tmp_path)
        for one in (trained, InteractionTokenizer.from_pretrained(tmp_path)):
            assert one.reads_removals
            assert one.tokens(one.actions) == list(one.action_marks) == [*ACTION_MARKS, "[REMOVE]"]
            assert not one.is_word[one.actions].any()

    def test_leave_a_vocabulary_as_it_was_elsewhere(self, tokenizer):
        trained = self.train(["colour"], removals=False)
        tokens = trained.tokens(range(14))
        assert tokens[:13] == [*WORD_MARKS, *TEXT_MARKS, *ACTION_MARKS, "[COLOUR]"]
        assert not tokenizer.reads_removals
        assert tokenizer.action_marks == ACTION_MARKS

    def test_an_attribute_of_that_name_is_no_action(self):
        trained = self.train(["remove"], removals=False)
        assert not trained.reads_removals
        assert trained.tokens(trained.product_text(self.NAMED_REMOVE)) == ["[REMOVE]", "red"]

    def test_an_attribute_of_that_name_shares_the_generic_token_where_it_is_an_action(self):
        trained = self.train(["remove"], removals=True)
        assert trained.tokens(trained.product_text(self.NAMED_REMOVE)) == ["[ATTRIBUTE]", "red"]

    @pytest.mark.parametrize("removals", [True, False])
    def test_of_a_checkpoint_s_vocabulary(self, bert_folder, removals):
        tokenizer = InteractionTokenizer.from_bert(bert_folder, ["remove"], removals=removals)
        assert tokenizer.reads_removals is removals
        assert tokenizer.tokens(range(len(BERT_WORDS))) == BERT_WORDS
        assert tokenizer.tokens(tokenizer.actions) == [*ACTION_MARKS, *["[REMOVE]"] * removals]


class TestFromBert:
    def test_keeps_every_token_under_its_id_and_appends_marks(self, bert_folder):
        tokenizer = InteractionTokenizer.from_bert(bert_folder, ["Colour", "buy"])
        appended = [*TEXT_MARKS, *ACTION_MARKS, "[COLOUR]"]
        assert tokenizer.tokens(range(tokenizer.vocab_size)) == [*BERT_WORDS, *appended]
        assert tokenizer.tokens(tokenizer.search_phrases(["Red shoes [BUY]"]).row(0)) == [
            *("red", "shoe", "##s"),
            *("[", "buy", "]"),
        ]
        assert not tokenizer.is_word[BERT_WORDS.index("[unused1]")]

    def test_takes_the_file_itself(self, bert_folder):
        assert InteractionTokenizer.from_bert(bert_folder / "vocab.txt", []).cls == BERT_WORDS.index("[CLS]")

    def test_honours_case_where_the_checkpoint_does(self, bert_folder):
        (bert_folder / "tokenizer_config.json").write_text('{"do_lower_case": false}')
        tokenizer = InteractionTokenizer.from_bert(bert_folder, [])
        assert tokenizer.tokens(tokenizer.search_phrases(["Red"]).row(0)) == ["Red"]

    def test_prefers_a_tokenizer_json(self, bert_folder, tmp_path_factory):
        other = tmp_path_factory.mktemp("fast")
        InteractionTokenizer.from_bert(bert_folder, []).save_pretrained(other)
        (other / "vocab.txt").write_text("not read")
        again = InteractionTokenizer.from_bert(other, ["colour"])
        assert again.tokens(range(len(BERT_WORDS))) == BERT_WORDS
        assert again.tokens([again.vocab_size - 1]) == ["[COLOUR]"]

    def test_nothing_there(self, tmp_path):
        with pytest.raises(NotFound, match=r"expected a vocab\.txt"):
            InteractionTokenizer.from_bert(tmp_path, [])

    @pytest.mark.parametrize(
        ("name", "content", "problem"),
        [
            ("vocab.txt", b"red\nblue\n", r"vocab\.txt|lacks \[PAD\]"),
            ("vocab.txt", b"\xff\xfe", "not a vocabulary"),
            ("vocab.txt", "\n".join([*BERT_WORDS, "red"]).encode(), "a token is in it twice"),
            ("tokenizer_config.json", b"{", "not JSON"),
            ("tokenizer_config.json", b'{"do_lower_case": "no"}', "do_lower_case"),
            ("tokenizer.json", b"[]", "expected a JSON object"),
            (
                "tokenizer.json",
                b'{"model": {"type": "BPE", "vocab": {}}}',
                "expected a WordPiece vocabulary, found BPE",
            ),
            ("tokenizer.json", b'{"model": {"type": "WordPiece"}}', "not a tokenizer"),
        ],
    )
    def test_a_damaged_file_is_named(self, bert_folder, name, content, problem):
        (bert_folder / name).write_bytes(content)
        with pytest.raises(InvalidData, match=problem) as caught:
            InteractionTokenizer.from_bert(bert_folder, [])
        assert str(bert_folder) in str(caught.value)


class TestFolder:
    def test_comes_back(self, tokenizer, products, tmp_path):
        tokenizer.save_pretrained(tmp_path)
        again = InteractionTokenizer.from_pretrained(tmp_path)
        texts, expected = again.product_texts(products), tokenizer.product_texts(products)
        assert texts.ids.tolist() == expected.ids.tolist()
        assert texts.offsets.tolist() == expected.offsets.tolist()
        assert (again.cls, again.sep, again.mask) == (tokenizer.cls, tokenizer.sep, tokenizer.mask)
        assert len(texts) == len(list(iter_products(products)))

    def test_nothing_there(self, tmp_path):
        with pytest.raises(NotFound, match=TOKENIZER_FILE):
            InteractionTokenizer.from_pretrained(tmp_path)

    @pytest.mark.parametrize(
        ("change", "problem"),
        [
            (lambda document: document["model"]["vocab"].pop("[BUY]"), r"the vocabulary lacks \[BUY\]"),
            (lambda document: document["model"]["vocab"].update({"[BUY]": 4_000_000_000}), "without a gap"),
            (lambda document: document.pop("model"), "not a tokenizer"),
        ],
    )
    def test_a_foreign_tokenizer_is_named(self, tokenizer, tmp_path, change, problem):
        tokenizer.save_pretrained(tmp_path)
        document = json.loads((tmp_path / TOKENIZER_FILE).read_text("utf-8"))
        change(document)
        (tmp_path / TOKENIZER_FILE).write_text(json.dumps(document), "utf-8")
        with pytest.raises(InvalidData, match=problem) as caught:
            InteractionTokenizer.from_pretrained(tmp_path)
        assert caught.value.file == tmp_path / TOKENIZER_FILE
