"""Counter-based random numbers: each is a pure function of (seed, question id, sample number, token
position).

A stream of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014) per response: number p is the mix of key + (p +
1) * gamma, so that a whole table of responses x positions is a few numpy operations, and no response's
numbers depend on which other responses stand beside it.
"""

import hashlib
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

_GAMMA = np.uint64(0x9E3779B97F4A7C15)


def row_keys(seed: int, rows: Iterable[tuple[str, int]]) -> NDArray[np.uint64]:
    """The stream keys of responses, given as (question id, sample number)."""
    digests = (hashlib.sha256(f"{seed}\0{name}\0{number}".encode()).digest()[:8] for name, number in rows)
    return np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64)


def uniforms(keys: NDArray[np.uint64], length: int) -> NDArray[np.float64]:
    """Numbers in [0, 1) with 53 bits: one row a key, one column a token position, shape [len(keys), length]."""
    counters = (np.arange(1, length + 1, dtype=np.uint64) * _GAMMA)[None, :]
    bits: NDArray[np.float64] = (splitmix64(keys[:, None] + counters) >> np.uint64(11)).astype(np.float64)
    return bits * 2.0**-53


def splitmix64(z: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The output function of SplitMix64, element by element (arithmetic is modulo 2**64)."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
