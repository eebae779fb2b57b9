"""A step costs what the paper's plain form costs: every session padded to 32 x 64, every view encoded by itself.

The plain form here shares nothing with the code under test but the weights, the tokenizer and the augmentations: plain
transformers modules with attention masks, and the losses as loops over i and j. Dropout is off on both sides.

Letters: B sessions, S = 32 places, N pairs, L = 64 tokens, D width.
"""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cosine_similarity
from transformers import BertConfig, BertModel
from transformers.models.bert.modeling_bert import BertEncoder

from tests.rounding import FORWARD_AND_BACKWARD, LAYER, rounding_error
from ubm_embed.data.batches.augmentations import mask_action_and_item_tokens, mask_item_tokens, reorder_interactions
from ubm_embed.data.batches.session_table import SessionTable
from ubm_embed.data.text.token_table import TokenTable
from ubm_embed.training.pretraining.config import ITEM_LOSSES, SESSION_LOSSES, PretrainingConfig
from ubm_embed.training.pretraining.losses import batch_losses
from ubm_embed.training.pretraining.stages import ItemStage, SessionStage
from ubm_embed.training.pretraining.views import KnownNextItems

TEMPERATURE = 0.05
PLACES, TOKENS = 32, 64
SEED = 7
# Two layers of each encoder, of width up to 64; scores are cosines over the temperature.
LOSS_ROUNDING = rounding_error(4 * LAYER, length=64) / TEMPERATURE
GRADIENT_ROUNDING = FORWARD_AND_BACKWARD * LOSS_ROUNDING


class PlainModel(nn.Module):
    """The model with plain attention over padded tensors and a copy of the same weights."""

    def __init__(self, model):
        super().__init__()
        config = {"attn_implementation": "eager"}
        self.encoder = BertModel(BertConfig(**model.config.interaction_encoder | config), add_pooling_layer=False)
        self.encoder.load_state_dict(model.interaction_encoder.encoder.state_dict())
        sizes = {
            "hidden_size": model.config.dimension,
            "num_hidden_layers": model.config.session_layers,
            "num_attention_heads": model.config.session_heads,
            "intermediate_size": 4 * model.config.dimension,
        }
        self.layers = BertEncoder(BertConfig(**sizes | config))
        self.layers.load_state_dict(model.session_encoder.layers.state_dict())
        self.eval()

    def interactions(self, sequences):
        """Lists of token ids -> [N, D]: the output at [CLS] of each, padded to L."""
        ids = torch.zeros(len(sequences), TOKENS, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for row, sequence in enumerate(sequences):
            ids[row, : len(sequence)] = torch.tensor(sequence)
            mask[row, : len(sequence)] = 1
        return self.encoder(input_ids=ids, attention_mask=mask).last_hidden_state[:, 0]

    def sessions(self, sessions):
        """Sessions, each a list of token sequences -> [B, D]: every place of the B x S x L is encoded."""
        empty = [[] for _ in range(PLACES)]
        places = [sequence for session in sessions for sequence in (session + empty)[:PLACES]]
        vectors = self.interactions(places).view(len(sessions), PLACES, -1)
        filled = torch.tensor([[place < len(session) for place in range(PLACES)] for session in sessions])
        hidden = torch.where(filled.unsqueeze(2), vectors + positions(vectors.shape[2]), 0.0)
        hidden_mask = torch.where(filled, 0.0, torch.finfo(torch.float32).min)[:, None, None, :]
        outputs = self.layers(hidden, attention_mask=hidden_mask).last_hidden_state
        return torch.stack([output[real].mean(dim=0) for output, real in zip(outputs, filled, strict=True)])


def positions(width):
    rows = [
        [(math.cos if column % 2 else math.sin)(place / 10_000 ** (column // 2 * 2 / width)) for column in range(width)]
        for place in range(PLACES)
    ]
    return torch.tensor(rows)


def equation(anchors, positives, no_negative, positive_in_denominator):
    """Equations 1 to 4, the mean over i; `no_negative(i, j)` says which j are left out for i."""
    terms = []
    for i in range(len(anchors)):
        sims = cosine_similarity(anchors[i].unsqueeze(0), positives) / TEMPERATURE
        columns = [j for j in range(len(positives)) if j != i and not no_negative(i, j)]
        columns += [i] if positive_in_denominator else []
        terms.append(-torch.log(torch.exp(sims[i]) / sum(torch.exp(sims[j]) for j in columns)))
    return sum(terms) / len(terms)


@pytest.fixture
def plain(model):
    return PlainModel(model)


@pytest.fixture(params=[True, False], ids=["infonce", "printed"])
def config(request):
    return PretrainingConfig(temperature=TEMPERATURE, positive_in_denominator=request.param)


def losses_of(stage, model, chosen, config):
    views = stage.views(chosen, np.random.default_rng(SEED))
    return batch_losses(stage.encode(model, views), views, config)


def require_equal(found, expected, model, plain):
    """Equal losses, and equal gradients of every parameter, the two forms' weights being equal already."""
    assert found.keys() == expected.keys()
    for name, loss in found.items():
        torch.testing.assert_close(loss, expected[name], atol=LOSS_ROUNDING, rtol=0)
    sum(found.values()).backward()
    sum(expected.values()).backward()
    sides = [
        (dict(model.interaction_encoder.encoder.named_parameters()), plain.encoder),
        (dict(model.session_encoder.layers.named_parameters()), plain.layers),
    ]
    compared = 0
    for ours, theirs in sides:
        for name, parameter in theirs.named_parameters():
            if parameter.grad is None:
                assert ours[name].grad is None
                continue
            torch.testing.assert_close(ours[name].grad, parameter.grad, atol=GRADIENT_ROUNDING, rtol=GRADIENT_ROUNDING)
            compared += int(parameter.grad.abs().max() > 0.01)
    assert compared > 10, "gradients of nothing are equal anyhow"


def sequence(tokenizer, texts, row, action=None):
    mark = [] if action is None else [int(tokenizer.actions[action])]
    return [tokenizer.cls, *mark, *texts.row(row).tolist(), tokenizer.sep]


def masked(mask, tokenizer, sequences):
    table = mask(TokenTable.from_rows(sequences), tokenizer, np.random.default_rng(SEED))
    return [table.row(row).tolist() for row in range(len(table))]


@pytest.mark.parametrize("known_masked", [False, True])
def test_stage_1(model, plain, tokenizer, tokenized, config, known_masked):
    items, next_items = np.array([0, 1, 4, 0, 6, 2]), np.array([1, 4, 0, 2, 7, 1])
    follows = {*zip(items.tolist(), next_items.tolist(), strict=True), (6, 0), (2, 3)} if known_masked else set()
    known = KnownNextItems.from_pairs(*np.array(sorted(follows)).T, texts=8) if known_masked else None
    stage = ItemStage(tokenizer, tokenized, items, next_items, np.arange(6), 6, 8, frozenset(ITEM_LOSSES), known=known)
    found = losses_of(stage, model, np.arange(6), config)

    both = [*items.tolist(), *next_items.tolist()]
    sequences = [sequence(tokenizer, tokenized.texts, row) for row in both]
    b = plain.interactions(sequences)
    b_next = plain.interactions(sequences[6:])
    b_masked = plain.interactions(masked(mask_item_tokens, tokenizer, sequences))
    expected = {
        "item_token_masking": equation(b, b_masked, lambda i, j: both[i] == both[j], config.positive_in_denominator),
        "next_item_pairing": equation(
            b[:6],
            b_next,
            lambda k, q: next_items[q] in (next_items[k], items[k]) or (items[k], next_items[q]) in follows,
            config.positive_in_denominator,
        ),
    }
    require_equal(found, expected, model, plain)


def test_stage_2(model, plain, tokenizer, tokenized, config):
    chosen = np.array([0, 1, 2, 3, 1, 8])  # one session twice
    sessions = tokenized.sessions.take(chosen)
    stage = SessionStage(tokenizer, tokenized, tokenized.sessions, 6, frozenset(SESSION_LOSSES))
    found = losses_of(stage, model, chosen, config)

    def spelled(table: SessionTable):
        bounds = zip(table.offsets[:-1], table.offsets[1:], strict=True)
        return [
            [sequence(tokenizer, tokenized.texts, table.rows[i], table.actions[i]) for i in range(start, stop)]
            for start, stop in bounds
        ]

    rng = np.random.default_rng(SEED)
    reordered = reorder_interactions(sessions, rng)
    flat = [interaction for session in spelled(sessions) for interaction in session]
    table = mask_action_and_item_tokens(TokenTable.from_rows(flat), tokenizer, rng)
    masked_flat = [table.row(row).tolist() for row in range(len(table))]
    masked_sessions = [
        masked_flat[start:stop] for start, stop in zip(sessions.offsets, sessions.offsets[1:], strict=False)
    ]
    h, h_reordered, h_masked = map(plain.sessions, (spelled(sessions), spelled(reordered), masked_sessions))

    def equal(i, j):
        return chosen[i] == chosen[j]

    expected = {
        "interaction_reordering": equation(h, h_reordered, equal, config.positive_in_denominator),
        "action_and_item_token_masking": equation(h, h_masked, equal, config.positive_in_denominator),
    }
    require_equal(found, expected, model, plain)
