"""A text has its vector whatever action precedes it, and only texts that were added have one."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ubm_embed.data.batches.distinct_batches import NO_ACTION, interaction_sequences
from ubm_embed.data.batches.packing import TokenBatch
from ubm_embed.data.session import Action
from ubm_embed.data.text.token_table import TokenTable
from ubm_embed.model.item_embeddings import ItemEmbeddings, text_keys

WIDTH = 4
# Few tokens, so that texts are often permutations and prefixes of each other; none of them is a mark.
TEXTS = st.lists(st.lists(st.integers(30, 33), min_size=1, max_size=6), min_size=1, max_size=20)
ACTIONS = st.sampled_from([NO_ACTION, *(action.code for action in Action)])


class Marks:
    """What a tokenizer puts around a text."""

    cls, sep, actions = 1, 2, np.array([3, 4, 5, 6, 7])


# The formula in Python's own whole numbers.
GOLDEN = [1977649957917405342, 4141912483016508148]
MARKS = torch.tensor([Marks.cls, Marks.sep, *Marks.actions])


def batch_of(texts, actions=None):
    """Texts as they are read: alone, or each after an action."""
    acts = np.full(len(texts), NO_ACTION) if actions is None else np.array(actions)
    return TokenBatch.from_table(interaction_sequences(Marks, TokenTable.from_rows(texts), acts, np.arange(len(texts))))


def embeddings_of(texts, existing=None, start=None):
    return ItemEmbeddings.from_texts(TokenTable.from_rows(texts), Marks, existing, WIDTH, start).eval()


@pytest.fixture
def known():
    """Three texts and their vectors."""
    torch.manual_seed(0)
    built = embeddings_of([[30], [31, 30], [30, 31]])
    torch.nn.init.normal_(built.vectors)
    return built


class TestKeys:
    @given(texts=TEXTS, data=st.data())
    def test_do_not_depend_on_the_action_in_front_nor_on_other_texts(self, texts, data):
        actions = [data.draw(ACTIONS) for _ in texts]
        keys = text_keys(batch_of(texts), MARKS)
        assert torch.equal(text_keys(batch_of(texts, actions), MARKS), keys)
        alone = [text_keys(batch_of([text], [action]), MARKS) for text, action in zip(texts, actions, strict=True)]
        assert torch.equal(torch.cat(alone), keys)

    @given(TEXTS)
    def test_are_equal_exactly_where_texts_are(self, texts):
        keys = text_keys(batch_of(texts), MARKS)
        for one, key in zip(texts, keys, strict=True):
            assert (keys == key).tolist() == [one == other for other in texts]

    def test_are_different_for_all_short_texts_of_a_vocabulary(self):
        tokens = range(30, 230)
        texts = [[one, other] for one in tokens for other in tokens] + [[one] for one in tokens]
        assert text_keys(batch_of(texts), MARKS).unique().numel() == len(texts)

    def test_are_the_same_on_every_machine(self):
        # Models hold the keys: with another hash they would find none of their texts.
        assert text_keys(batch_of([[30], [31, 30]]), MARKS).tolist() == GOLDEN


class TestReading:
    @torch.no_grad()
    def test_a_text_gets_its_vector_under_any_action_and_other_texts_get_0(self, known):
        texts, actions = [[31, 30], [30, 31], [31], [30], [31, 30, 30], [31, 30]], [NO_ACTION, 0, 1, 2, 3, 1]
        found = known(batch_of(texts, actions))
        own = {text: known(batch_of([text]))[0] for text in ((30,), (31, 30), (30, 31))}
        assert len({tuple(vector.tolist()) for vector in own.values()}) == 3
        assert sorted(vector.tolist() for vector in own.values()) == sorted(known.vectors.tolist())
        expected = [own.get(tuple(text), torch.zeros(WIDTH)) for text in texts]
        assert torch.equal(found, torch.stack(expected))

    @given(known=TEXTS, queries=TEXTS)
    def test_finds_the_texts_that_were_added_and_no_others(self, known, queries):
        built = embeddings_of(known)
        assert built.keys.tolist() == sorted(built.keys.tolist())
        assert built.keys.numel() == len({tuple(text) for text in known})
        assert built.find(batch_of(queries))[1].tolist() == [text in known for text in queries]

    def test_a_step_moves_the_vectors_of_the_texts_it_read(self, known):
        known.train()(batch_of([[31, 30], [31], [31, 30]])).sum().backward()
        row, _ = known.find(batch_of([[31, 30]]))
        expected = torch.zeros_like(known.vectors)
        expected[row] = 2.0
        assert torch.equal(known.vectors.grad, expected)


class TestDropout:
    BATCH = batch_of([[31, 30]] * 4000)

    @torch.no_grad()
    def test_training_reads_texts_without_their_vectors_at_that_rate(self, known):
        known.dropout = 0.3
        own = known(batch_of([[31, 30]]))
        found = known.train()(self.BATCH)
        dropped = (found == 0).all(dim=1)
        assert dropped.float().mean() == pytest.approx(0.3, abs=0.04)
        assert torch.equal(found[~dropped], own.expand(int((~dropped).sum()), -1)), "never scaled"

    @pytest.mark.parametrize(("dropout", "training"), [(0.3, False), (0.0, True)])
    @torch.no_grad()
    def test_otherwise_every_text_is_read_with_its_vector(self, known, dropout, training):
        known.dropout = dropout
        assert (known.train(training)(self.BATCH) != 0).all()


class TestExisting:
    @torch.no_grad()
    def test_existing_texts_keep_their_vectors_and_new_ones_start_at_0(self, known):
        before = {text: known(batch_of([text])) for text in ((30,), (31, 30), (30, 31))}
        after = embeddings_of([[31], [30, 31], [32, 32]], existing=known)
        assert after.keys.numel() == 5
        for text, vector in before.items():
            assert torch.equal(after(batch_of([text])), vector)
        for text in ([31], [32, 32]):
            assert after.find(batch_of([text]))[1].all()
            assert not after(batch_of([text])).any()

    def test_the_existing_embeddings_are_left_as_they_were(self, known):
        vectors, keys = known.vectors.detach().clone(), known.keys.clone()
        embeddings_of([[33]], existing=known).vectors.data.fill_(1.0)
        assert torch.equal(known.vectors, vectors)
        assert torch.equal(known.keys, keys)

    def test_no_new_texts_change_nothing(self, known):
        assert torch.equal(embeddings_of([], existing=known).vectors, known.vectors)

    @torch.no_grad()
    def test_new_texts_start_at_given_vectors_equal_ones_at_their_mean(self, known):
        start = torch.arange(16.0).reshape(4, WIDTH)
        after = embeddings_of([[31], [30, 31], [31], [32, 32]], existing=known, start=start)
        assert torch.equal(after(batch_of([[31], [32, 32]])), torch.stack([(start[0] + start[2]) / 2, start[3]]))
        assert torch.equal(after(batch_of([[30, 31]])), known(batch_of([[30, 31]])))
