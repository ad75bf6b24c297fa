"""Each harness of `make fuzz` runs over its own seeds, so that none rots."""

import pytest

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


def test_a_harness_notices_what_is_slow() -> None:
    def slow(data: bytes) -> None:
        for _ in range(10**4):
            sum(range(10**3))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tests.fuzz.harnesses.LIMIT", 0.01)
        with pytest.raises(AssertionError, match="processor seconds for 1 bytes"):
            Harness(slow, lambda: iter([]))(b"x")
