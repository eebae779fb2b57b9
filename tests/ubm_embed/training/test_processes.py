"""Two processes take the step that one would take over the whole batch."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.rounding import FORWARD_AND_BACKWARD, LAYER, rounding_error
from tests.ubm_embed.training import together
from tests.ubm_embed.training.together import Case, steps
from ubm_embed.model.user_behavior_model import UserBehaviorModel
from ubm_embed.training.pretraining.config import ITEM_LOSSES, SESSION_LOSSES
from ubm_embed.training.pretraining.stages import ItemStage, SessionStage
from ubm_embed.training.processes import ALONE, init_process_group, own_device, world_size

ROOT = Path(__file__).resolve().parents[3]
WORLD = 2
# One layer of each encoder, of width up to 64; scores are cosines over the temperature.
LOSS_ROUNDING = rounding_error(2 * LAYER, length=64) / together.CONFIG.temperature
GRADIENT_ROUNDING = FORWARD_AND_BACKWARD * LOSS_ROUNDING
# By name: stage, dropout, tokens a chunk, examples. With 150 there are several chunks a process.
CASES = {
    "items": (1, 0.0, 150, 24),
    "sessions": (2, 0.0, 150, 24),
    "items with dropout": (1, 0.2, 150, 24),
    "sessions with dropout": (2, 0.2, 150, 24),
    "one chunk": (2, 0.0, None, 24),
}


@pytest.fixture(scope="module")
def cases(tokenizer, tokenized):
    settings = {"batch_size": 24, "pairs_per_session": 8, "losses": frozenset(ITEM_LOSSES)}
    settings["mask_known_next_items"] = True
    stages = {
        1: ItemStage.from_sessions(tokenizer, tokenized, tokenized.sessions, **settings),
        2: SessionStage(tokenizer, tokenized, tokenized.sessions, 24, frozenset(SESSION_LOSSES)),
    }

    def case(number, dropout, tokens, examples):
        torch.manual_seed(1)
        sizes = {"layers": 1, "width": 16, "dimension": 16, "session_layers": 1}
        model = UserBehaviorModel.from_scratch(vocab_size=tokenizer.vocab_size, dropout=dropout, **sizes).train()
        with torch.no_grad():
            for weights in model.parameters():
                weights += 0.1 * torch.randn_like(weights)
        views = stages[number].views(np.arange(examples), np.random.default_rng(3))
        return Case(model, stages[number], views, tokens)

    made = {name: case(*settings) for name, settings in CASES.items()}
    # One product follows itself: a single sequence, which two processes cannot share.
    alone = ItemStage(tokenizer, tokenized, *np.zeros((2, 3), int), np.arange(3), 3, 8, frozenset(ITEM_LOSSES[1:]))
    views = alone.views(np.arange(3), np.random.default_rng(0))
    return made | {"one sequence": Case(made["items"].model, alone, views, None)}


@pytest.fixture(scope="module")
def reports(cases, tmp_path_factory):
    """What each of two processes found."""
    folder = tmp_path_factory.mktemp("together")
    torch.save(cases, folder / "cases.pt")
    os.mkfifo(folder / "noticed")
    done = torchrun("-m", "tests.ubm_embed.training.together", folder)
    assert done.returncode == 0, done.stderr
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(WORLD)]


def torchrun(*arguments):
    # Gloo finds its peers by the host's name, which a machine without a network may not know.
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    start = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(WORLD)]
    command = [sys.executable, *start, *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=280)


@pytest.mark.parametrize("name", [*CASES, "one sequence"])
def test_losses_and_gradients_are_those_of_one_process_with_the_whole_batch(reports, cases, name):
    expected = steps(cases[name])
    for report in reports:
        found = report[name]
        assert found["losses"] == pytest.approx(expected["losses"], abs=LOSS_ROUNDING)
        assert found["gradients"].keys() == expected["gradients"].keys()
        for parameter, gradient in expected["gradients"].items():
            torch.testing.assert_close(
                found["gradients"][parameter], gradient, atol=GRADIENT_ROUNDING, rtol=GRADIENT_ROUNDING
            )
    if name != "one sequence":
        assert max(gradient.abs().max() for gradient in expected["gradients"].values()) > 0.01


@pytest.mark.parametrize("name", [*CASES, "one sequence"])
def test_every_process_has_the_same_weights_after_three_steps(reports, cases, name):
    first, second = (report[name] for report in reports)
    assert first["losses"] == second["losses"]
    before = cases[name].model.state_dict()
    moved = 0
    for parameter, weights in first["weights"].items():
        assert torch.equal(weights, second["weights"][parameter])
        moved += int(not torch.equal(weights, before[parameter]))
    assert moved > 5 or name == "one sequence"


def test_process_0_speaks_for_all(reports):
    refused = ("NotADirectoryError", errno.ENOTDIR, str(Path(together.__file__, "below a file")))
    expected = {"result": "from 0", "error": "taken", "exit_code": 5, "refused": refused}
    for report in reports:
        assert expected.items() <= report["on_rank_zero"].items()


def test_a_failure_of_process_0_of_any_kind_is_told_to_the_others(reports):
    own, other = (report["on_rank_zero"] for report in reports)
    bug = "integer division or modulo by zero"
    assert own["bug"] == ("ZeroDivisionError", bug)
    assert other["bug"] == ("UbmError", f"process 0 failed with ZeroDivisionError: {bug}")
    assert other["unsent"] == ("UbmError", f"process 0 failed with {own['unsent'][0]}: {own['unsent'][1]}")


def test_a_process_that_failed_is_missed_at_once_even_while_it_lives(reports):
    assert "process 1 of 2 has lost the others" in reports[1]["lost"]
    assert "--resume continues a run that had begun" in reports[1]["lost"]
    assert "Timed out" not in reports[1]["lost"]


def test_a_process_alone_asks_nobody():
    with init_process_group(torch.device("cpu")) as processes:
        assert processes == ALONE
        assert processes.on_rank_zero(lambda: 7) == 7


class TestWorldSize:
    @pytest.fixture(autouse=True)
    def machine(self, monkeypatch):
        for name, value in {"WORLD_SIZE": "2", "RANK": "0", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}.items():
            monkeypatch.setenv(name, value)

    def test_it_is_what_the_environment_says(self, monkeypatch):
        assert world_size() == 2
        for alone in ("1", ""):
            monkeypatch.setenv("WORLD_SIZE", alone)
            assert world_size() == 1
        monkeypatch.delenv("WORLD_SIZE")
        assert world_size() == 1

    def test_a_start_by_half_is_refused_with_what_to_do(self, monkeypatch):
        monkeypatch.delenv("MASTER_ADDR")
        monkeypatch.delenv("MASTER_PORT")
        expected = "WORLD_SIZE=2 without MASTER_ADDR, MASTER_PORT: start with torchrun, or unset WORLD_SIZE"
        with pytest.raises(ValueError, match=expected), init_process_group(torch.device("cpu")):
            pass

    def test_what_is_no_number_is_refused(self, monkeypatch):
        monkeypatch.setenv("WORLD_SIZE", "two")
        with pytest.raises(ValueError, match="WORLD_SIZE=two is not a number of processes"):
            world_size()


class TestOwnDevice:
    CUDA = torch.device("cuda")

    @pytest.fixture(autouse=True)
    def machine(self, monkeypatch):
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
        started = {"WORLD_SIZE": "4", "RANK": "1", "LOCAL_RANK": "1", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}
        for name, value in started.items():
            monkeypatch.setenv(name, value)

    def test_each_process_has_a_gpu(self):
        assert own_device(self.CUDA) == torch.device("cuda:1")
        assert own_device(torch.device("cpu")) == torch.device("cpu")

    def test_a_process_alone_takes_what_it_is_given(self, monkeypatch):
        monkeypatch.setenv("WORLD_SIZE", "1")
        assert own_device(self.CUDA) == self.CUDA
        assert own_device(torch.device("cuda:1")) == torch.device("cuda:1")

    def test_one_gpu_for_all_is_refused(self):
        with pytest.raises(ValueError, match="cuda:0 is one GPU for several processes"):
            own_device(torch.device("cuda:0"))

    def test_too_few_gpus_are_counted(self, monkeypatch):
        monkeypatch.setenv("LOCAL_RANK", "2")
        with pytest.raises(ValueError, match="process 2 of this machine has no GPU, there are 2"):
            own_device(self.CUDA)
