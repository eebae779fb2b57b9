"""The packed session encoder against the plain form: padded, masked, positions by the formula, mean of real places."""

import math

import numpy as np
import pytest
import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import BertConfig
from transformers.models.bert.modeling_bert import BertEncoder

from ubm_embed.data.packing import Packing
from ubm_embed.model.session_encoder import SessionEncoder, sinusoidal_positions

WIDTH, LONGEST = 16, 8


@pytest.fixture
def encoder(stir):
    torch.manual_seed(0)
    built = SessionEncoder(dimension=WIDTH, layers=2, heads=2, dropout=0.0, max_interactions=LONGEST)
    stir(built)
    return built.eval()


def position(place):
    """Vaswani et al., 3.5, entry by entry."""
    angles = [place / 10_000 ** (2 * (column // 2) / WIDTH) for column in range(WIDTH)]
    return [math.cos(angle) if column % 2 else math.sin(angle) for column, angle in enumerate(angles)]


def padded_and_masked(encoder, sessions):
    """[B, D] by transformers' own encoder over [B, S, D] with a mask."""
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
    mask = torch.where(real, 0.0, torch.finfo(torch.float32).min)[:, None, None, :]
    outputs = plain(padded, attention_mask=mask).last_hidden_state
    return plain, (outputs * real.unsqueeze(2)).sum(dim=1) / lengths.unsqueeze(1)


def sessions_of(*lengths):
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(length, WIDTH, generator=generator) for length in lengths]


def packed(encoder, sessions):
    return encoder(torch.cat(sessions), Packing.of(np.array([len(session) for session in sessions])))


@pytest.mark.parametrize("lengths", [[1], [8], [3, 3, 3], [5, 1, 8, 1, 2]])
def test_equals_the_padded_and_masked_form(encoder, lengths):
    sessions = sessions_of(*lengths)
    with torch.no_grad():
        _, expected = padded_and_masked(encoder, sessions)
        torch.testing.assert_close(packed(encoder, sessions), expected, atol=1e-5, rtol=0)
    assert expected.std() > 0.1


def test_gradients_equal_those_of_the_padded_form(encoder):
    sessions, direction = sessions_of(4, 1, 6, 4), torch.randn(4, WIDTH)
    plain, expected = padded_and_masked(encoder, sessions)
    (expected * direction).sum().backward()
    (packed(encoder, sessions) * direction).sum().backward()
    gradients = dict(plain.named_parameters())
    for name, parameter in encoder.layers.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[name].grad, atol=1e-5, rtol=1e-4)


def test_a_session_s_vector_depends_neither_on_the_order_nor_on_the_others(encoder):
    sessions = sessions_of(4, 2, 4, 7)
    with torch.no_grad():
        together = packed(encoder, sessions)
        shuffled = packed(encoder, [sessions[index] for index in (2, 3, 0, 1)])
        alone = torch.cat([packed(encoder, [session]) for session in sessions])
    torch.testing.assert_close(shuffled[[2, 3, 0, 1]], together, atol=1e-6, rtol=0)
    torch.testing.assert_close(alone, together, atol=1e-6, rtol=0)


def test_the_order_of_interactions_matters(encoder):
    (session,) = sessions_of(3)
    with torch.no_grad():
        difference = packed(encoder, [session]) - packed(encoder, [session.flip(0)])
    assert difference.abs().max() > 1e-3


def test_a_fresh_encoder_only_normalises_its_inputs_and_takes_their_mean():
    fresh = SessionEncoder(dimension=WIDTH, layers=3, heads=2, dropout=0.0, max_interactions=LONGEST)
    (session,) = sessions_of(4)
    inputs = session + torch.tensor([position(place) for place in range(4)])
    expected = torch.nn.functional.layer_norm(inputs, [WIDTH], eps=1e-12).mean(dim=0)
    torch.testing.assert_close(packed(fresh, [session])[0], expected, atol=1e-5, rtol=0)


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

    def test_still_reads_no_more_than_it_has_places_for(self, mean):
        with pytest.raises(ValueError, match="9 interactions, expected at most 8"):
            packed(mean, sessions_of(9))


def test_sinusoidal_positions_are_the_formula():
    expected = torch.tensor([position(place) for place in range(50)])
    torch.testing.assert_close(sinusoidal_positions(50, WIDTH), expected, atol=1e-5, rtol=0)


def test_a_session_longer_than_the_positions_is_refused(encoder):
    with pytest.raises(ValueError, match="9 interactions, expected at most 8: keep the last ones"):
        packed(encoder, sessions_of(2, 9))


def test_positions_are_not_saved(encoder):
    assert not [name for name in encoder.state_dict() if "positions" in name]


def test_frozen_it_is_what_it_was_whatever_becomes_of_the_weights(encoder):
    sessions = sessions_of(4, 1, 6)
    packing = Packing.of(np.array([4, 1, 6]))
    with torch.no_grad():
        expected, frozen = packed(encoder, sessions), encoder.frozen()
        torch.testing.assert_close(frozen(torch.cat(sessions), packing), expected)
        for weight in encoder.parameters():
            weight.add_(1)
        torch.testing.assert_close(frozen(torch.cat(sessions), packing), expected)
        assert not torch.allclose(packed(encoder, sessions), expected)
