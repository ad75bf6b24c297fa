"""How the rows of a step are cut up and dealt out to processes; whatever the number, each row counts once."""

from typing import Any

import torch
from hypothesis import given
from hypothesis import strategies as st

from w2s_core.training.examples import BatchPlan
from w2s_core.training.trainers import gather_unequal, idle

plans = st.tuples(st.integers(1, 40), st.integers(1, 9)).map(
    lambda drawn: BatchPlan(list(range(drawn[0])), drawn[1], -(-drawn[0] // drawn[1]))
)


def parts_of(plan: BatchPlan, at_once: int, processes: int) -> list[list[list[int]]]:
    """The micro-batches by process."""
    return [plan.micro_batches(at_once, rank, processes) for rank in range(processes)]


@given(plans, st.integers(1, 9), st.integers(1, 5))
def test_each_row_of_a_step_is_read_once_at_that_step(plan: BatchPlan, at_once: int, processes: int) -> None:
    rounds = -(-min(plan.batch, at_once * -(-plan.batch // at_once)) // (at_once * processes))
    dealt = parts_of(plan, at_once, processes)
    for step in range(plan.steps):
        wanted = plan.order[step * plan.batch : (step + 1) * plan.batch]
        read = [row for mine in dealt for part in mine[step * rounds : (step + 1) * rounds] for row in part]
        assert sorted(read) == wanted


@given(plans, st.integers(1, 9), st.integers(1, 5))
def test_all_processes_take_as_many_turns_and_none_holds_too_much(
    plan: BatchPlan, at_once: int, processes: int
) -> None:
    dealt = parts_of(plan, at_once, processes)
    assert len({len(mine) for mine in dealt}) == 1
    assert all(len(part) <= at_once for mine in dealt for part in mine)


@given(plans, st.integers(1, 9))
def test_one_process_reads_the_plan_as_it_stands_and_is_never_idle(plan: BatchPlan, at_once: int) -> None:
    parts = plan.micro_batches(at_once)
    assert [row for part in parts for row in part] == plan.order
    assert all(parts)


def test_nothing_of_an_idle_row_is_in_the_loss() -> None:
    row = {"input_ids": [1, 2, 3], "labels": [-100, 2, 3]}
    assert idle(row) == {"input_ids": [1, 2, 3], "labels": [-100, -100, -100], "idle": True}
    assert row["labels"] == [-100, 2, 3]
    assert idle({"prompt_ids": [1]}) == {"prompt_ids": [1], "idle": True}


class Accelerator:
    """The first of two processes; what the second holds is known beforehand."""

    def __init__(self, others: list[torch.Tensor]) -> None:
        self._others = iter(others)

    def gather(self, tensor: torch.Tensor) -> torch.Tensor:
        other = next(self._others)
        assert other.shape == tensor.shape, "gloo ends the process where shapes differ"
        return torch.cat([tensor, other]) if tensor.ndim else torch.stack([tensor, other])

    def pad_across_processes(self, tensor: torch.Tensor, dim: int) -> torch.Tensor:
        return torch.cat([tensor, torch.zeros(3 - len(tensor))])


def test_unequal_numbers_of_pairs_are_gathered_without_padding() -> None:
    others: list[Any] = [torch.tensor([3]), torch.tensor([3.0, 4.0, 5.0])]
    gather = gather_unequal(Accelerator(others))
    assert gather(torch.tensor([1.0])).tolist() == [1.0, 3.0, 4.0, 5.0]


def test_single_numbers_are_gathered_as_they_are() -> None:
    gather = gather_unequal(Accelerator([torch.tensor(2.0)]))
    assert gather(torch.tensor(1.0)).tolist() == [1.0, 2.0]
