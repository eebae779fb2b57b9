"""Our layers on packed sequences, against transformers' on each sequence by itself: values, gradients, formats."""

import copy

import numpy as np
import pytest
import torch
from torch.nn.functional import cosine_similarity
from transformers import BertConfig
from transformers.models.bert.modeling_bert import BertEncoder

from tests.cpu import in_bfloat16
from tests.rounding import FORWARD_AND_BACKWARD, LAYER, rounding_error
from ubm_embed.data.batches.packing import Packing
from ubm_embed.model.transformer import add_dropped, attention, computing_format, dropout, layers_from_modules

# Three layers, and no sum of more terms than the longest sequence has slots.
ATOL = rounding_error(3 * LAYER, 140)
GRADIENT = rounding_error(3 * LAYER * FORWARD_AND_BACKWARD, 140)

WIDTH = 32
LENGTHS = {"mixed": [3, 1, 7, 7, 12, 2, 5], "alike": [5, 5, 5], "alone": [9], "one token": [1, 1], "long": [140, 20, 3]}


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    config = BertConfig(
        hidden_size=WIDTH, num_hidden_layers=3, num_attention_heads=4, intermediate_size=48, initializer_range=0.2
    )
    config._attn_implementation = "eager"
    return BertEncoder(config).eval()


@pytest.fixture(params=LENGTHS.values(), ids=LENGTHS)
def sequences(request):
    return [torch.randn(length, WIDTH, generator=torch.Generator().manual_seed(length)) for length in request.param]


def packed(sequences):
    packing = Packing.from_lengths(np.array([len(sequence) for sequence in sequences]))
    return torch.cat(sequences)[packing.elements], packing


def every_slot(encoder, sequences, dtype=torch.float32):
    hidden, packing = packed(sequences)
    hidden = hidden.to(dtype)
    for layer in layers_from_modules(encoder.layer, dtype):
        hidden = layer(hidden, packing, packing.attention_mask())
    return [hidden[start : start + len(one)] for start, one in zip(packing.starts.tolist(), sequences, strict=True)]


def first_slots(encoder, sequences):
    hidden, packing = packed(sequences)
    *layers, last = layers_from_modules(encoder.layer, torch.float32, last_at_first=True)
    for layer in layers:
        hidden = layer(hidden, packing, packing.attention_mask())
    return last.at_first(hidden, packing)


def gradients(encoder, outputs):
    direction = torch.randn(outputs.shape, generator=torch.Generator().manual_seed(1))
    (outputs * direction).sum().backward()
    return {name: weight.grad for name, weight in encoder.named_parameters()}


def test_every_slot_is_that_of_the_sequence_alone(encoder, sequences):
    for found, sequence in zip(every_slot(encoder, sequences), sequences, strict=True):
        torch.testing.assert_close(found, encoder(sequence[None]).last_hidden_state[0], atol=ATOL, rtol=ATOL)


def test_the_last_layer_at_first_slots_is_the_whole_layer_there(encoder, sequences):
    expected = torch.stack([encoder(sequence[None]).last_hidden_state[0, 0] for sequence in sequences])
    torch.testing.assert_close(first_slots(encoder, sequences), expected, atol=ATOL, rtol=ATOL)


def test_gradients_at_first_slots_are_those_of_the_sequences_by_themselves(encoder, sequences):
    plain = copy.deepcopy(encoder)
    expected = gradients(plain, torch.stack([plain(one[None]).last_hidden_state[0, 0] for one in sequences]))
    found = gradients(encoder, first_slots(encoder, sequences))
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, atol=GRADIENT, rtol=GRADIENT, msg=name)


@in_bfloat16
def test_bfloat16_stays_near_float32(encoder, sequences):
    exact = torch.cat([encoder(sequence[None]).last_hidden_state[0] for sequence in sequences])
    found = torch.cat(every_slot(encoder, sequences, torch.bfloat16)).float()
    assert cosine_similarity(found, exact).min() > 0.999
    assert (found - exact).norm() < 0.03 * exact.norm()


@in_bfloat16
def test_gradients_in_bfloat16_point_where_those_in_float32_do(encoder, sequences):
    half = copy.deepcopy(encoder)
    exact = gradients(encoder, torch.cat(every_slot(encoder, sequences)))
    found = gradients(half, torch.cat(every_slot(half, sequences, torch.bfloat16)).float())
    for name, gradient in exact.items():
        if gradient.norm() > 1e-3:  # a key's bias moves no attention weight: its gradient is rounding alone
            assert cosine_similarity(found[name].flatten(), gradient.flatten(), dim=0) > 0.97, name


class TestAttention:
    """Query, key, value [2, 3, 6, 4], two sequences of 4 and 2 in a tile."""

    @pytest.fixture
    def states(self):
        return torch.randn(3, 2, 3, 6, 4, generator=torch.Generator().manual_seed(0)).unbind()

    @pytest.fixture
    def mask(self):
        owner = torch.tensor([0, 0, 0, 0, 1, 1])
        return (owner[:, None] == owner).expand(2, 1, 6, 6)

    def test_of_each_sequence_alone(self, states, mask):
        found = attention(*states, mask, 0.0)
        for part in (slice(0, 4), slice(4, 6)):
            query, key, value = (state[:, :, part] for state in states)
            expected = torch.softmax(query @ key.transpose(2, 3) / 2, dim=3) @ value
            torch.testing.assert_close(found[:, :, part], expected)

    def test_dropout_is_on_the_weights_and_keeps_the_expectation(self, states, mask):
        torch.manual_seed(0)
        drawn = torch.stack([attention(*states, mask, 0.5) for _ in range(3000)])
        assert drawn.std(dim=0).min() > 0.01
        torch.testing.assert_close(drawn.mean(dim=0), attention(*states, mask, 0.0), atol=0.12, rtol=0)

    def test_what_is_masked_stays_so_under_dropout(self, states, mask):
        query, key, value = states
        value[:, :, 4:] = float("nan")
        assert torch.isfinite(attention(query, key, value.nan_to_num(1e30), mask, 0.5)[:, :, :4]).all()
        assert attention(query, key, value.nan_to_num(1e30), mask, 0.5)[:, :, :4].abs().max() < 100


def test_training_drops_and_evaluation_does_not(encoder, sequences):
    assert torch.equal(first_slots(encoder, sequences), first_slots(encoder, sequences))
    encoder.train()
    assert not torch.equal(first_slots(encoder, sequences), first_slots(encoder, sequences))


def test_it_computes_in_the_format_of_autocast():
    weight = torch.zeros(1)
    assert computing_format(weight) == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        assert computing_format(weight) == torch.bfloat16


class TestDropout:
    """Our masks, against what dropout promises and against PyTorch's own arithmetic."""

    ONES = torch.ones(400, 257)

    @pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
    def test_elements_are_dropped_at_that_rate_and_the_expectation_stays(self, rate):
        torch.manual_seed(0)
        dropped, elements = dropout(self.ONES, rate), self.ONES.numel()
        # The rate is rounded to 256ths; five standard deviations of a mean of independent elements.
        deviation = 5 * (rate * (1 - rate) / elements) ** 0.5
        assert (dropped == 0).float().mean().item() == pytest.approx(rate, abs=1 / 512 + deviation)
        assert dropped.mean().item() == pytest.approx(1, abs=5 * (rate / (1 - rate) / elements) ** 0.5)
        rest = dropped[dropped != 0]
        assert torch.equal(rest, torch.full_like(rest, rest[0].item()))

    def test_elements_are_dropped_independently_of_their_neighbours(self):
        dropped = (dropout(self.ONES, 0.5) == 0).float() - 0.5
        for shift in (1, 7, 8):
            assert (dropped[:, shift:] * dropped[:, :-shift]).mean().abs() < 0.005
            assert (dropped[shift:] * dropped[:-shift]).mean().abs() < 0.005

    def test_a_seed_gives_the_same_masks_and_two_calls_give_two(self):
        torch.manual_seed(3)
        first, second = dropout(self.ONES, 0.1), dropout(self.ONES, 0.1)
        assert not torch.equal(first, second)
        torch.manual_seed(3)
        assert torch.equal(dropout(self.ONES, 0.1), first)
        assert torch.equal(dropout(self.ONES, 0.1), second)

    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
    def test_a_dropped_branch_is_added_to_the_residual_stream(self, dtype):
        residual, branch = torch.randn(40, 9).to(dtype), torch.randn(40, 9).to(dtype)
        torch.manual_seed(0)
        expected = residual + dropout(branch, 0.3)
        torch.manual_seed(0)
        torch.testing.assert_close(
            add_dropped(residual, branch, 0.3), expected, atol=8 * torch.finfo(dtype).eps, rtol=0
        )

    def test_gradients_flow_only_through_elements_that_were_not_dropped(self):
        branch = torch.randn(30, 8, requires_grad=True)
        torch.manual_seed(1)
        add_dropped(torch.zeros(30, 8), branch, 0.4).sum().backward()
        torch.manual_seed(1)
        assert torch.equal(branch.grad, dropout(torch.ones(30, 8), 0.4))

    def test_a_rate_of_0_changes_nothing(self):
        branch = torch.randn(3, 4)
        assert torch.equal(dropout(branch, 0.0), branch)
        assert torch.equal(add_dropped(branch, branch, 0.0), 2 * branch)

    def test_a_rate_near_1_still_scales(self):
        assert torch.isfinite(dropout(self.ONES, 0.999)).all()
