"""Encoding chunk by chunk changes neither vectors nor gradients, replays dropout, and keeps memory bounded."""

import numpy as np
import pytest
import torch

from tests.rounding import FORWARD_AND_BACKWARD, LAYER, rounding_error
from ubm_embed.training.encoding import AT_ONCE, Encoding
from ubm_embed.training.pretraining.config import ITEM_LOSSES, SESSION_LOSSES, PretrainingConfig
from ubm_embed.training.pretraining.losses import batch_losses
from ubm_embed.training.pretraining.stages import ItemStage, SessionStage

CONFIG = PretrainingConfig()
# Two layers of each encoder, of width up to 64; scores are cosines over the temperature.
LOSS_ROUNDING = rounding_error(4 * LAYER, length=64) / CONFIG.temperature
GRADIENT_ROUNDING = FORWARD_AND_BACKWARD * LOSS_ROUNDING
SIZES = [1, 7, 60, 150, 400, 10_000]


@pytest.fixture(params=[1, 2], ids=["stage 1", "stage 2"])
def stage(request, tokenizer, tokenized):
    if request.param == 2:
        return SessionStage(tokenizer, tokenized, tokenized.sessions, 24, frozenset(SESSION_LOSSES))
    settings = {"batch_size": 24, "pairs_per_session": 8, "losses": frozenset(ITEM_LOSSES), "item_actions": True}
    settings["mask_known_next_items"] = True
    return ItemStage.from_sessions(tokenizer, tokenized, tokenized.sessions, **settings)


def views_of(stage, examples=24):
    return stage.views(np.arange(examples), np.random.default_rng(3))


def chunked(tokens, seed=0, **settings):
    return Encoding(chunk_tokens=tokens, seeds=(seed, 1, 0), **settings)


def loss_and_gradients(stage, model, how):
    views = views_of(stage)
    model.zero_grad(set_to_none=True)
    loss = torch.stack(list(batch_losses(stage.encode(model, views, how), views, CONFIG).values())).sum()
    loss.backward()
    return loss.detach(), {name: weights.grad for name, weights in model.named_parameters()}


@pytest.mark.parametrize("tokens", SIZES)
def test_without_dropout_chunks_cost_what_the_whole_batch_costs(stage, model, tokens):
    loss, gradients = loss_and_gradients(stage, model, chunked(tokens))
    expected, expected_gradients = loss_and_gradients(stage, model, AT_ONCE)
    torch.testing.assert_close(loss, expected, atol=LOSS_ROUNDING, rtol=0)
    compared = 0
    for name, gradient in expected_gradients.items():
        if gradient is None:
            assert gradients[name] is None
            continue
        torch.testing.assert_close(gradients[name], gradient, atol=GRADIENT_ROUNDING, rtol=GRADIENT_ROUNDING)
        compared += int(gradient.abs().max() > 0.01)
    assert compared > 10, "gradients of nothing are equal anyhow"


@pytest.mark.parametrize("tokens", SIZES)
def test_dropout_is_replayed_bit_for_bit(stage, model, tokens):
    model.train()
    loss, gradients = loss_and_gradients(stage, model, chunked(tokens))
    expected, expected_gradients = loss_and_gradients(stage, model, chunked(tokens, recompute=False))
    assert torch.equal(loss, expected)
    for name, gradient in expected_gradients.items():
        assert gradient is None or torch.equal(gradients[name], gradient)


@pytest.mark.parametrize("tokens", [None, 60])
def test_dropout_comes_from_the_seeds_alone(stage, model, tokens):
    model.train()
    first, again, other = (stage.encode(model, views_of(stage), chunked(tokens, seed)).detach() for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)


def test_chunks_differ_in_what_they_drop(model, tokenizer, tokenized):
    model.train()
    stage = SessionStage(tokenizer, tokenized, tokenized.sessions, 2, frozenset(SESSION_LOSSES))
    views = stage.views(np.array([5] * 8), np.random.default_rng(0))
    vectors = stage.encode(model, views, chunked(1))[:8]
    assert torch.pdist(vectors).min() > 0, "the same session eight times"


@pytest.mark.parametrize("tokens", [1, 60, 10_000])
@pytest.mark.parametrize("recompute", [True, False])
def test_every_chunk_but_the_last_is_encoded_twice(stage, model, tokens, recompute):
    calls = {model.interaction_encoder: [], model.session_encoder: []}
    for encoder, inputs in calls.items():
        # Before the call: what is encoded again stops as soon as the backward pass has what it needs.
        encoder.register_forward_pre_hook(lambda _, read, inputs=inputs: inputs.append(read[0]))
    loss_and_gradients(stage, model, chunked(tokens, recompute=recompute))
    assert calls[model.interaction_encoder]
    for inputs in filter(None, calls.values()):
        chunks = (len(inputs) + 1) // 2 if recompute else len(inputs)
        assert chunks > 1 or tokens == 10_000
        first, again = (
            [getattr(one, "ids", one).tolist() for one in part] for part in (inputs[:chunks], inputs[chunks:])
        )
        # The backward pass goes from the last chunk, which was kept, to the first.
        assert again == (first[-2::-1] if recompute else [])


def kept_bytes(stage, model, examples, how):
    """What the forward pass keeps for the backward, without the weights."""
    weights = {parameter.data_ptr() for parameter in model.parameters()}
    saved = {}

    def keep(tensor):
        if tensor.data_ptr() not in weights:
            saved[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        vectors = stage.encode(model, views_of(stage, examples), how)
    return sum(saved.values()), vectors.numel() * vectors.element_size()


def test_what_is_kept_does_not_grow_with_the_batch(stage, model):
    small, vectors = kept_bytes(stage, model, 8, chunked(100))
    large, more_vectors = kept_bytes(stage, model, 40, chunked(100))
    at_once, _ = kept_bytes(stage, model, 40, AT_ONCE)
    assert large < small + 4 * (more_vectors - vectors)
    assert at_once > 4 * large


def test_what_is_encoded_again_needs_seeds():
    with pytest.raises(AssertionError, match="drop the same elements again"):
        Encoding(chunk_tokens=8)


@pytest.mark.parametrize("tokens", [None, 60])
def test_vectors_are_float32_whatever_is_computed_in(stage, model, tokens):
    how = Encoding(chunk_tokens=tokens, seeds=(0,), precision="bfloat16")
    vectors = stage.encode(model, views_of(stage), how)
    assert vectors.dtype == torch.float32
    whole = stage.encode(model, views_of(stage), AT_ONCE)
    assert not torch.equal(vectors, whole)
    # Sums are taken in float32; what goes from one to the next is rounded to bfloat16.
    rounded = rounding_error(4 * LAYER, length=1, dtype=torch.bfloat16)
    torch.testing.assert_close(vectors, whole, atol=rounded, rtol=rounded)
