"""Our masks are held against what dropout promises, and against PyTorch's own arithmetic."""

import pytest
import torch

from ubm_embed.model.transformer import add_dropped, dropout

ONES = torch.ones(400, 257)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_about_that_share_is_dropped_and_the_expectation_stays(share):
    found = dropout(ONES, share)
    assert (found == 0).float().mean().item() == pytest.approx(share, abs=0.01)
    assert found.mean().item() == pytest.approx(1, abs=0.03)
    kept = found[found != 0]
    assert torch.equal(kept, torch.full_like(kept, kept[0].item()))


def test_elements_are_dropped_independently_of_their_neighbours():
    dropped = (dropout(ONES, 0.5) == 0).float() - 0.5
    for shift in (1, 7, 8):
        assert (dropped[:, shift:] * dropped[:, :-shift]).mean().abs() < 0.005
        assert (dropped[shift:] * dropped[:-shift]).mean().abs() < 0.005


def test_a_seed_gives_the_same_masks_and_two_calls_give_two():
    torch.manual_seed(3)
    first, second = dropout(ONES, 0.1), dropout(ONES, 0.1)
    assert not torch.equal(first, second)
    torch.manual_seed(3)
    assert torch.equal(dropout(ONES, 0.1), first)
    assert torch.equal(dropout(ONES, 0.1), second)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_dropped_branch_is_added_to_the_residual_stream(dtype):
    residual, branch = torch.randn(40, 9).to(dtype), torch.randn(40, 9).to(dtype)
    torch.manual_seed(0)
    expected = residual + dropout(branch, 0.3)
    torch.manual_seed(0)
    torch.testing.assert_close(
        add_dropped(residual, branch, 0.3), expected, atol=1e-5 if dtype.itemsize == 4 else 0.05, rtol=0
    )


def test_gradients_flow_through_what_was_kept_alone():
    branch = torch.randn(30, 8, requires_grad=True)
    torch.manual_seed(1)
    add_dropped(torch.zeros(30, 8), branch, 0.4).sum().backward()
    torch.manual_seed(1)
    assert torch.equal(branch.grad, dropout(torch.ones(30, 8), 0.4))


def test_a_share_of_nothing_changes_nothing():
    branch = torch.randn(3, 4)
    assert torch.equal(dropout(branch, 0.0), branch)
    assert torch.equal(add_dropped(branch, branch, 0.0), 2 * branch)


def test_a_share_of_nearly_all_still_scales():
    assert torch.isfinite(dropout(ONES, 0.999)).all()
