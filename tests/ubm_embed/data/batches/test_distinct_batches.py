"""A batch of distinct interactions holds, position by position, the interactions of each session."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from ubm_embed.data.batches.distinct_batches import (
    NO_ACTION,
    distinct_interactions,
    interaction_codes,
    interaction_sequences,
    session_batch,
)
from ubm_embed.data.batches.packing import SessionBatch, TokenBatch
from ubm_embed.data.text.token_table import TokenTable
from ubm_embed.data.text.tokenizer import ACTION_MARKS

TEXTS = TokenTable.from_rows([[50, 51], [60], [], [70, 71, 72]])
PAIRS = st.tuples(st.integers(NO_ACTION, len(ACTION_MARKS) - 1), st.integers(0, len(TEXTS) - 1))
SESSIONS = st.lists(st.lists(PAIRS, min_size=1, max_size=5), min_size=1, max_size=5)


def arrays(pairs, dtype=np.int64):
    return np.array([pair[0] for pair in pairs], dtype=dtype), np.array([pair[1] for pair in pairs], dtype=np.int64)


def expected_sequence(tokenizer, action, row):
    mark = [] if action == NO_ACTION else [int(tokenizer.actions[action])]
    return [tokenizer.cls, *mark, *TEXTS.row(row).tolist(), tokenizer.sep]


@given(pairs=st.lists(PAIRS, max_size=8))
def test_an_interaction_is_cls_action_text_sep(tokenizer, pairs):
    table = interaction_sequences(tokenizer, TEXTS, *arrays(pairs))
    assert [table.row(index).tolist() for index in range(len(table))] == [
        expected_sequence(tokenizer, *pair) for pair in pairs
    ]


@given(st.lists(PAIRS | st.tuples(st.integers(NO_ACTION, 3), st.integers(0, 2**31 - 1)), max_size=20))
def test_codes_order_interactions_as_pairs_and_tell_them_apart(pairs):
    codes = interaction_codes(*arrays(pairs))
    assert codes.dtype == np.int64
    assert [pairs[place] for place in np.argsort(codes, kind="stable")] == sorted(pairs)
    assert len(set(codes.tolist())) == len(set(pairs))


def test_codes_are_the_same_whatever_type_holds_an_interaction():
    # Sessions store uint8 and int32; what has no action is -1 and comes before all.
    stored = interaction_codes(np.array([0, 3], np.uint8), np.array([5, 2**31 - 1], np.int32))
    assert stored.tolist() == interaction_codes(np.array([0, 3]), np.array([5, 2**31 - 1])).tolist()
    assert interaction_codes(np.array([NO_ACTION]), np.array([2**31])).item() < stored.min()


@given(st.lists(PAIRS, max_size=20))
def test_distinct_interactions_are_each_pair_once(pairs):
    actions, rows, index = distinct_interactions(*arrays(pairs))
    different = list(zip(actions.tolist(), rows.tolist(), strict=True))
    assert different == sorted(set(pairs))
    assert index.shape == (len(pairs),)
    assert [different[place] for place in index.tolist()] == pairs


def test_distinct_interactions_of_stored_arrays():
    # Actions are stored as uint8, rows as any whole number, and rows may be many.
    actions, rows, index = distinct_interactions(np.array([3, 3, 0], np.uint8), np.array([2**31, 2**31, 5], np.uint32))
    assert (actions.tolist(), rows.tolist(), index.tolist()) == ([0, 3], [5, 2**31], [1, 1, 0])


@given(sessions=SESSIONS)
def test_every_position_of_every_session_holds_its_interaction(tokenizer, sessions):
    batch = session_batch(tokenizer, TEXTS, [arrays(session) for session in sessions])
    packing = batch.tokens.packing
    starts, lengths = packing.starts.tolist(), packing.lengths.tolist()
    result = [batch.tokens.ids[starts[n] : starts[n] + lengths[n]].tolist() for n in batch.index.tolist()]
    assert result == [expected_sequence(tokenizer, *pair) for session in sessions for pair in session]
    assert len(starts) == len({pair for session in sessions for pair in session})
    assert batch.packing.lengths.tolist() == [*map(len, sessions)]


def test_moving_to_a_device_keeps_everything():
    batch = SessionBatch.from_index(TokenTable.from_rows([[1, 2], [3]]), np.array([1, 0, 1]), np.array([2, 1]))
    moved = batch.to(torch.device("cpu"))
    assert moved.index.tolist() == [1, 0, 1]
    for before, after in [(batch.packing, moved.packing), (batch.tokens.packing, moved.tokens.packing)]:
        assert after.starts.tolist() == before.starts.tolist()
        assert torch.equal(after.owner, before.owner)
    assert moved.tokens.ids.tolist() == batch.tokens.ids.tolist()


def test_token_batch_ids_are_what_an_embedding_takes():
    batch = TokenBatch.from_table(TokenTable.from_rows([[7, 8, 9], [4]]))
    assert batch.ids.dtype == torch.int64
    assert batch.ids[batch.packing.filled()].tolist() == [7, 8, 9, 4]


@given(sessions=SESSIONS, data=st.data())
def test_a_part_holds_what_the_whole_holds_there(tokenizer, sessions, data):
    batch = session_batch(tokenizer, TEXTS, [arrays(session) for session in sessions])

    def sequences(tokens):
        starts, lengths = tokens.packing.starts.tolist(), tokens.packing.lengths.tolist()
        return [tokens.ids[start : start + length].tolist() for start, length in zip(starts, lengths, strict=True)]

    def ends(count):
        begin = data.draw(st.integers(0, count - 1))
        return begin, data.draw(st.integers(begin + 1, count))

    begin, end = ends(len(sequences(batch.tokens)))
    assert sequences(batch.tokens.part(begin, end)) == sequences(batch.tokens)[begin:end]
    begin, end = ends(len(sessions))
    index, packing = batch.part(begin, end)
    lengths = [*map(len, sessions)]
    assert packing.lengths.tolist() == lengths[begin:end]
    assert index.tolist() == batch.index.tolist()[sum(lengths[:begin]) : sum(lengths[:end])]
