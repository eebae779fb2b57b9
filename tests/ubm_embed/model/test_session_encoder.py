"""The packed session encoder against the plain form: padded, masked, positions by the formula, mean over real slots."""

import math

import numpy as np
import pytest
import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import BertConfig
from transformers.models.bert.modeling_bert import BertEncoder

from tests.rounding import FORWARD_AND_BACKWARD, LAYER, rounding_error
from ubm_embed.data.batches.packing import Packing
from ubm_embed.model.session_encoder import SessionEncoder
from ubm_embed.model.transformer import sinusoidal_positions

# Two layers, and no sum of more than 64 terms.
ATOL = rounding_error(2 * LAYER, 64)
GRADIENT = rounding_error(2 * LAYER * FORWARD_AND_BACKWARD, 64)

WIDTH, LONGEST = 16, 8


@pytest.fixture
def encoder(stir):
    torch.manual_seed(0)
    built = SessionEncoder(dimension=WIDTH, layers=2, heads=2, dropout=0.0, max_interactions=LONGEST)
    stir(built)
    return built.eval()


def position(index):
    """Vaswani et al., 3.5, entry by entry."""
    angles = [index / 10_000 ** (2 * (column // 2) / WIDTH) for column in range(WIDTH)]
    return [math.cos(angle) if column % 2 else math.sin(angle) for column, angle in enumerate(angles)]


def padded_and_masked(encoder, sessions):
    """The encoder of transformers, and [B, D]: the mean over its outputs where a session is."""
    plain, outputs, real = outputs_of_bert(encoder, sessions)
    return plain, (outputs * real.unsqueeze(2)).sum(dim=1) / real.sum(dim=1, keepdim=True)


def outputs_of_bert(encoder, sessions, *, causal=False):
    """transformers' own encoder, its outputs [B, S, D] over padded sessions, and which slots are real [B, S]."""
    settings = BertConfig(
        hidden_size=WIDTH, num_hidden_layers=2, num_attention_heads=2, intermediate_size=4 * WIDTH,
        hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, attn_implementation="eager",
    )  # fmt: skip
    plain = BertEncoder(settings)
    plain.load_state_dict(encoder.layers.state_dict())
    lengths = torch.tensor([len(session) for session in sessions])
    padded = pad_sequence(
        [session + torch.tensor([position(s) for s in range(len(session))]) for session in sessions], True
    )
    real = torch.arange(padded.shape[1]) < lengths.unsqueeze(1)
    seen = real[:, None, None, :]
    if causal:
        seen = seen & torch.ones(padded.shape[1], padded.shape[1], dtype=torch.bool).tril()
    mask = torch.where(seen, 0.0, torch.finfo(torch.float32).min)
    return plain, plain(padded, attention_mask=mask).last_hidden_state, real


def sessions_of(*lengths):
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(length, WIDTH, generator=generator) for length in lengths]


def packed(encoder, sessions):
    return encoder(torch.cat(sessions), Packing.from_lengths(np.array([len(session) for session in sessions])))


@pytest.mark.parametrize("lengths", [[1], [8], [3, 3, 3], [5, 1, 8, 1, 2]])
def test_equals_the_padded_and_masked_form(encoder, lengths):
    sessions = sessions_of(*lengths)
    with torch.no_grad():
        _, expected = padded_and_masked(encoder, sessions)
        torch.testing.assert_close(packed(encoder, sessions), expected, atol=ATOL, rtol=0)
    assert expected.std() > 0.1


def test_gradients_equal_those_of_the_padded_form(encoder):
    sessions, direction = sessions_of(4, 1, 6, 4), torch.randn(4, WIDTH)
    plain, expected = padded_and_masked(encoder, sessions)
    (expected * direction).sum().backward()
    (packed(encoder, sessions) * direction).sum().backward()
    gradients = dict(plain.named_parameters())
    for name, parameter in encoder.layers.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[name].grad, atol=GRADIENT, rtol=GRADIENT)


def test_a_sessions_vector_depends_neither_on_the_order_nor_on_the_others(encoder):
    sessions = sessions_of(4, 2, 4, 7)
    with torch.no_grad():
        together = packed(encoder, sessions)
        shuffled = packed(encoder, [sessions[index] for index in (2, 3, 0, 1)])
        alone = torch.cat([packed(encoder, [session]) for session in sessions])
    torch.testing.assert_close(shuffled[[2, 3, 0, 1]], together, atol=ATOL, rtol=0)
    torch.testing.assert_close(alone, together, atol=ATOL, rtol=0)


def test_the_order_of_interactions_matters(encoder):
    (session,) = sessions_of(3)
    with torch.no_grad():
        difference = packed(encoder, [session]) - packed(encoder, [session.flip(0)])
    assert difference.abs().max() > 1e-3


def test_a_fresh_encoder_only_normalises_its_inputs_and_takes_their_mean():
    fresh = SessionEncoder(dimension=WIDTH, layers=3, heads=2, dropout=0.0, max_interactions=LONGEST)
    (session,) = sessions_of(4)
    inputs = session + torch.tensor([position(index) for index in range(4)])
    expected = torch.nn.functional.layer_norm(inputs, [WIDTH], eps=1e-12).mean(dim=0)
    torch.testing.assert_close(packed(fresh, [session])[0], expected, atol=ATOL, rtol=0)


class TestCausal:
    """One that attends to earlier interactions only."""

    @pytest.fixture
    def causal(self, stir):
        torch.manual_seed(0)
        sizes = {"dimension": WIDTH, "layers": 2, "heads": 2, "dropout": 0.0, "max_interactions": LONGEST}
        built = SessionEncoder(**sizes, causal=True)
        stir(built)
        return built.eval()

    def prefixes(self, encoder, sessions):
        packing = Packing.from_lengths(np.array([len(session) for session in sessions]))
        return encoder.prefixes(torch.cat(sessions), packing)

    @pytest.mark.parametrize("lengths", [[1], [8], [3, 3, 3], [5, 1, 8, 1, 2]])
    @torch.no_grad()
    def test_equals_the_padded_form_under_a_triangle(self, causal, lengths):
        sessions = sessions_of(*lengths)
        _, outputs, real = outputs_of_bert(causal, sessions, causal=True)
        torch.testing.assert_close(self.prefixes(causal, sessions), outputs[real], atol=ATOL, rtol=0)
        last = torch.stack([outputs[row, length - 1] for row, length in enumerate(lengths)])
        torch.testing.assert_close(packed(causal, sessions), last, atol=ATOL, rtol=0)
        assert last.std() > 0.1

    @pytest.mark.parametrize("lengths", [[1], [8], [3, 3, 3], [5, 1, 8, 1, 2]])
    @torch.no_grad()
    def test_a_prefix_is_what_it_is_alone(self, causal, lengths):
        sessions = sessions_of(*lengths)
        alone = [packed(causal, [session[:stop]]) for session in sessions for stop in range(1, len(session) + 1)]
        found = self.prefixes(causal, sessions)
        torch.testing.assert_close(found, torch.cat(alone), atol=ATOL, rtol=0)
        wholes = torch.tensor(lengths).cumsum(0) - 1
        torch.testing.assert_close(found[wholes], packed(causal, sessions), atol=ATOL, rtol=0)

    @torch.no_grad()
    def test_a_later_interaction_changes_no_earlier_prefix(self, causal):
        sessions = sessions_of(5, 3, 8)
        before = self.prefixes(causal, sessions)
        sessions[0][3] += 1.0
        after = self.prefixes(causal, sessions)
        differs = (after - before).abs().amax(dim=1) > 1e-3
        assert differs.nonzero().flatten().tolist() == [3, 4]

    def test_gradients_reach_every_weight_and_every_interaction(self, causal):
        sessions = [session.requires_grad_() for session in sessions_of(4, 2)]
        (self.prefixes(causal, sessions) * torch.randn(6, WIDTH)).sum().backward()
        assert all(
            weights.grad.abs().max() > 0 for name, weights in causal.named_parameters() if "key.bias" not in name
        )
        assert all((session.grad.abs().amax(dim=1) > 0).all() for session in sessions)

    @torch.no_grad()
    def test_frozen_it_reads_the_same(self, causal):
        sessions, packing = sessions_of(4, 1, 6), Packing.from_lengths(np.array([4, 1, 6]))
        torch.testing.assert_close(causal.frozen()(torch.cat(sessions), packing), packed(causal, sessions))

    def test_one_that_reads_both_ways_has_no_beginnings(self, encoder):
        with pytest.raises(ValueError, match="only a causal session encoder"):
            self.prefixes(encoder, sessions_of(3))

    def test_a_session_longer_than_the_positions_is_refused(self, causal):
        with pytest.raises(ValueError, match="9 interactions, expected at most 8: keep the last ones"):
            self.prefixes(causal, sessions_of(2, 9))

    def test_without_layers_a_session_is_its_last_interaction(self):
        sizes = {"dimension": WIDTH, "layers": 0, "heads": 2, "dropout": 0.0, "max_interactions": LONGEST}
        sessions = sessions_of(3, 1, 5)
        found = packed(SessionEncoder(**sizes, causal=True), sessions)
        assert torch.equal(found, torch.stack([session[-1] for session in sessions]))


class TestWithoutLayers:
    """A session is the mean of its interactions, as the paper's BERT baselines read one."""

    @pytest.fixture
    def mean(self):
        return SessionEncoder(dimension=WIDTH, layers=0, heads=2, dropout=0.5, max_interactions=LONGEST)

    def test_is_the_mean_whatever_the_order_in_training_too(self, mean):
        sessions = sessions_of(5, 1, 8, 2)
        expected = torch.stack([session.mean(dim=0) for session in sessions])
        torch.testing.assert_close(packed(mean, sessions), expected)
        torch.testing.assert_close(packed(mean.eval(), [session.flip(0) for session in sessions]), expected)

    def test_has_no_weights(self, mean):
        assert not mean.state_dict()

    def test_still_reads_no_more_than_its_limit(self, mean):
        with pytest.raises(ValueError, match="9 interactions, expected at most 8"):
            packed(mean, sessions_of(9))


def test_sinusoidal_positions_are_the_formula():
    expected = torch.tensor([position(index) for index in range(50)])
    torch.testing.assert_close(sinusoidal_positions(50, WIDTH), expected, atol=ATOL, rtol=0)


def test_a_session_longer_than_the_positions_is_refused(encoder):
    with pytest.raises(ValueError, match="9 interactions, expected at most 8: keep the last ones"):
        packed(encoder, sessions_of(2, 9))


def test_positions_are_not_saved(encoder):
    assert not [name for name in encoder.state_dict() if "positions" in name]


def test_frozen_it_ignores_later_changes_of_the_weights(encoder):
    sessions = sessions_of(4, 1, 6)
    packing = Packing.from_lengths(np.array([4, 1, 6]))
    with torch.no_grad():
        expected, frozen = packed(encoder, sessions), encoder.frozen()
        torch.testing.assert_close(frozen(torch.cat(sessions), packing), expected)
        for weight in encoder.parameters():
            weight.add_(1)
        torch.testing.assert_close(frozen(torch.cat(sessions), packing), expected)
        assert not torch.allclose(packed(encoder, sessions), expected)
