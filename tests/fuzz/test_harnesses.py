"""Each harness of `make fuzz` runs over its own seeds, so that none rots; and each notices a fault."""

import pytest

from tests.fuzz import harnesses
from tests.fuzz.harnesses import HARNESSES, Harness


@pytest.mark.parametrize("name", HARNESSES)
def test_a_harness_holds_on_its_seeds_and_on_parts_of_them(name: str) -> None:
    harness = HARNESSES[name]
    seeds = list(harness.seeds())
    assert len(seeds) >= 3
    for seed in seeds:
        harness(seed)
        harness(seed[: len(seed) // 2])
    for data in (b"", b"\x00", b"\xff\xfe", b"\xff\n" * 5):
        harness(data)
