"""What every tower over product ids promises."""

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.quality.baselines.gru4rec import GRU4Rec
from benchmarks.quality.baselines.prod2bert import Prod2BERT
from benchmarks.quality.baselines.sasrec import SASRec
from benchmarks.quality.baselines.sr_gnn import SRGNN
from tests.rounding import FORWARD_AND_BACKWARD, LAYER, rounding_error
from ubm_embed.data.tasks.examples import TargetSequences
from ubm_embed.training.finetuning.objectives import NextItem

PRODUCTS, LONGEST = 10, 4
SESSIONS = [[1, 2, 3], [4], [5, 6, 5, 6], [7, 7], [9, 8, 7, 6, 5, 4], [10, 12]]
# Up to four layers of width 16, whose feed-forward part sums 64 terms.
ATOL = rounding_error(4 * LAYER, 64)
CAUSAL = [GRU4Rec, SASRec]
KINDS = [*CAUSAL, SRGNN, Prod2BERT]


def built(kind, stir):
    torch.manual_seed(0)
    tower = kind(PRODUCTS, dimension=16, max_interactions=LONGEST)
    stir(tower)
    return tower.eval()


@pytest.fixture(params=KINDS, ids=lambda kind: kind.__name__)
def tower(request, stir):
    return built(request.param, stir)


@pytest.fixture(params=CAUSAL, ids=lambda kind: kind.__name__)
def causal(request, stir):
    return built(request.param, stir)


def vectors(tower, table):
    with torch.no_grad():
        return tower.sessions(table)


def same(one, other):
    return torch.allclose(one, other, atol=ATOL)


def test_a_session_s_vector_does_not_depend_on_its_batch(tower, table_of):
    together = vectors(tower, table_of(SESSIONS))
    assert together.shape == (len(SESSIONS), 16)
    for session, vector in zip(SESSIONS, together, strict=True):
        assert same(vectors(tower, table_of([session]))[0], vector)


def test_vectors_are_in_the_order_of_the_batch(tower, table_of):
    order = np.array([3, 0, 5, 2, 1, 4])
    table = table_of(SESSIONS)
    assert same(vectors(tower, table.take(order)), vectors(tower, table)[order])


def test_different_sessions_have_different_vectors(tower, table_of):
    together = vectors(tower, table_of(SESSIONS))
    assert torch.cdist(together, together).fill_diagonal_(1).min() > 1e-3


def test_the_last_products_are_read(tower, table_of):
    long, other, cut = vectors(tower, table_of([[1, 2, 3, 4, 5, 6], [8, 9, 3, 4, 5, 6], [3, 4, 5, 6]]))
    assert same(long, cut)
    assert same(other, cut)
    assert not same(cut, vectors(tower, table_of([[7, 4, 5, 6]]))[0])


def test_search_phrases_are_dropped_before_the_last_products_are_chosen(tower, table_of):
    searched, plain = vectors(tower, table_of([[1, 10, 2, 15, 3, 4, 11], [1, 2, 3, 4]]))
    assert same(searched, plain)


def test_the_order_of_products_matters(tower, table_of):
    forwards, backwards = vectors(tower, table_of([[1, 2, 3], [3, 2, 1]]))
    assert not torch.allclose(forwards, backwards, atol=1e-3)


@pytest.mark.parametrize("sessions", [[[10], [1, 2]], [[10, 11], [12]], [[], [1]]])
def test_a_session_without_a_product_is_zero_and_harms_no_gradient(tower, table_of, sessions):
    tower.train()
    table = table_of(sessions)
    together = tower.sessions(table)
    empty = torch.tensor([all(row >= PRODUCTS for row in session) for session in sessions])
    assert (together[empty] == 0).all()
    torch.nn.functional.normalize(together, dim=1).sum().backward()
    gradients = [parameter.grad for parameter in tower.parameters() if parameter.grad is not None]
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert max(gradient.abs().max() for gradient in gradients) < 1e4, "normalising 0 multiplies by 1e12"


def test_training_leaves_the_padding_at_zero(table_of):
    for kind in KINDS:
        tower = kind(PRODUCTS, dimension=16)
        optimizer = torch.optim.Adam(tower.parameters(), lr=0.1)
        (tower.sessions(table_of(SESSIONS)) ** 2).sum().backward()
        optimizer.step()
        assert (tower.items.weight[PRODUCTS] == 0).all()


def test_products_are_rows_of_the_table(tower):
    assert torch.equal(tower.products(np.array([3, 3, 0])), tower.items.weight[[3, 3, 0]])
    assert tower.products(np.array([], dtype=np.int64)).shape == (0, 16)


@pytest.mark.parametrize("row", [-1, PRODUCTS, PRODUCTS + 1])
def test_a_row_that_is_not_a_product_is_an_error(tower, row):
    with pytest.raises(ValueError, match="rows must be products, 0 to 9"):
        tower.products(np.array([0, row]))


def test_scores_are_inner_products_unless_a_temperature_is_given():
    for kind in KINDS:
        assert kind(PRODUCTS).temperature is None
        assert kind(PRODUCTS, temperature=0.1).temperature == 0.1


def test_every_weight_of_a_session_is_trained(tower, table_of):
    (tower.sessions(table_of(SESSIONS)) ** 2).sum().backward()
    idle = {name for name, parameter in tower.named_parameters() if parameter.grad is None}
    assert {name for name in idle if not name.startswith(("head.", "bias"))} == set(), "Prod2BERT's head fills masks"


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])  # the tower does not change
@given(
    sessions=st.lists(
        st.lists(st.integers(0, PRODUCTS + 2), max_size=9).filter(
            lambda rows: sum(r < PRODUCTS for r in rows) <= LONGEST
        ),
        min_size=1,
        max_size=4,
    )
)
def test_prefixes_have_the_vectors_of_each_prefix_alone(causal, table_of, sessions):
    with torch.no_grad():
        together = causal.prefixes(table_of(sessions))
    alone = [session[: end + 1] for session in sessions for end in range(len(session))]
    assert together.shape == (len(alone), 16)
    for prefix, vector in zip(alone, together, strict=True):
        assert same(vectors(causal, table_of([prefix]))[0], vector)


def test_a_later_product_changes_no_earlier_prefix(causal, table_of):
    with torch.no_grad():
        one, other = (causal.prefixes(table_of([[1, 10, 2, last], [4, 5]])) for last in (3, 7))
    assert same(one[[0, 1, 2, 4, 5]], other[[0, 1, 2, 4, 5]])
    assert not torch.allclose(one[3], other[3], atol=1e-3)


def test_a_prefix_without_a_product_is_zero_and_harms_no_gradient(causal, table_of):
    together = causal.prefixes(table_of([[10, 11, 1], [], [12]]))
    assert (together[[0, 1, 3]] == 0).all()
    assert (together[2] != 0).all()
    torch.nn.functional.normalize(together, dim=1).sum().backward()
    gradients = [parameter.grad for parameter in causal.parameters() if parameter.grad is not None]
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert max(gradient.abs().max() for gradient in gradients) < 1e4


def test_prefixes_of_a_session_that_is_too_long_are_an_error(causal, table_of):
    causal.prefixes(table_of([[10, 1, 2, 11, 3, 4, 12]]))
    with pytest.raises(ValueError, match="a session has 5 products, expected at most 4"):
        causal.prefixes(table_of([[1], [1, 2, 3, 4, 5]]))


def test_all_positions_train_as_single_prefixes_do(causal, table_of):
    """The loss of all prefixes and its gradients equal those of the same examples one by one."""
    sequences = TargetSequences(table_of([[1, 2, 10, 3, 4], [5, 6]]), np.array([0, 2, 3, 5]), np.array([2, 3, 4, 6]))
    objective, rng = NextItem(causal, PRODUCTS, all_positions=True), np.random.default_rng(0)
    losses, gradients = [], []
    for examples in (sequences, sequences.examples):
        causal.zero_grad()
        losses.append(objective.loss(examples, rng))
        losses[-1].backward()
        gradients.append(torch.cat([parameter.grad.flatten() for parameter in causal.parameters()]))
    assert losses[0].item() == pytest.approx(losses[1].item(), abs=ATOL)
    assert torch.allclose(*gradients, atol=FORWARD_AND_BACKWARD * ATOL)
