"""Finds scans that are there twice, whatever their number type, file format, orientation or scale.

Each scan leaves a digest of its values and some thousand of its voxels; only scans whose voxels agree are read again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from unetr.core.space.volume import Array, Volume
from unetr.prepare.measure.scan_facts import to_canonical

# Voxels of a scan that are kept, at places that depend on its size alone.
_SAMPLED = 4096
# Of whole scans at most so many voxels are compared.
_COMPARED = 1_000_000
# Rank correlation of two copies. Two frames of one beating heart of the ACDC have at most 0.995.
_ALIKE = 0.9999
# Of the range of the values: what float32 and a header's slope may round.
_ROUNDING = 1e-5

How = Literal["same", "rounded", "scaled"]


@dataclass(frozen=True, slots=True, eq=False)
class Traits:
    """What a scan is known again by.

    shape: [C, X, Y, Z] in canonical orientation. digest: of the values as float32. ranks: float32 [C, n], the ranks of
    some voxels with mean 0 and length 1 in each channel, 0 where these are all the same.
    """

    shape: tuple[int, ...]
    digest: str
    ranks: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Twin:
    """Scan number `second` is scan number `first` once more: the same values, but for rounding, or in another scale."""

    first: int
    second: int
    how: How


def traits_of(volume: Volume) -> Traits:
    """The traits of an image or a label [C, X, Y, Z]."""
    data = to_canonical(volume).data
    ranks = np.stack([_ranks(_sample(channel, _SAMPLED)) for channel in data])
    return Traits(tuple(data.shape), digest_of_values(data), ranks.astype(np.float32))


def digest_of_values(data: Array) -> str:
    """SHA-256 of the shape and of the numbers as float32, whatever type they are kept in; -0 is 0."""
    digest = hashlib.sha256(str(data.shape).encode())
    for channel in data:
        digest.update((np.ascontiguousarray(channel, dtype=np.float32) + np.float32(0)).data)
    return digest.hexdigest()


def find_twins(traits: Sequence[Traits | None], read: Callable[[int], Volume]) -> list[Twin]:
    """For each scan that was there before, the first one that it repeats; None are scans that could not be read.

    read(number) reads a scan again: that is done for those only whose sampled voxels agree. Raises what it raises.
    """
    groups: dict[tuple[int, ...], list[int]] = {}
    for number, found in enumerate(traits):
        if found is not None:
            groups.setdefault(found.shape, []).append(number)
    twins = []
    for members in groups.values():
        known = [found for number in members if (found := traits[number]) is not None]
        alike = _alike([found.ranks for found in known])
        for position, number in enumerate(members):
            twin = _first_twin(position, [found.digest for found in known], alike[position], members, read)
            if twin is not None:
                twins.append(Twin(members[twin[0]], number, twin[1]))
    return sorted(twins, key=lambda twin: twin.second)


def _first_twin(
    position: int,
    digests: Sequence[str],
    alike: NDArray[np.bool_],
    members: Sequence[int],
    read: Callable[[int], Volume],
) -> tuple[int, How] | None:
    for other in range(position):
        if digests[other] == digests[position]:
            return other, "same"
    for other in range(position):
        how = compare(read(members[other]), read(members[position])) if alike[other] else None
        if how is not None:
            return other, how
    return None


def compare(first: Volume, second: Volume) -> How | None:
    """Whether two images of one shape are one scan; None where they are not."""
    pairs = list(zip(to_canonical(first).data, to_canonical(second).data, strict=True))
    rounded = True
    for one, other in pairs:
        mine, theirs = _sample(one, _COMPARED), _sample(other, _COMPARED)
        if mine.min() == mine.max() and theirs.min() == theirs.max():
            continue
        if float(_ranks(mine) @ _ranks(theirs)) < _ALIKE:
            return None
        rounded &= bool(np.abs(mine - theirs).max() <= _ROUNDING * (mine.max() - mine.min()))
    return "rounded" if rounded else "scaled"


def _alike(ranks: Sequence[NDArray[np.float32]]) -> NDArray[np.bool_]:
    """[n, n]: which scans agree in all channels. One whose sampled voxels are all the same agrees with none."""
    table = np.stack(ranks)  # [n, C, voxels]
    flat = (table == 0).all(axis=2)  # [n, C]
    says_something = ~flat.all(axis=1)
    result: NDArray[np.bool_] = says_something[:, None] & says_something[None]
    for channel in range(table.shape[1]):
        both_flat = flat[:, channel, None] & flat[None, :, channel]
        result &= (table[:, channel] @ table[:, channel].T >= _ALIKE) | both_flat
    return result


def _sample(channel: Array, most: int) -> NDArray[np.float64]:
    """All voxels, or so many at places that depend on their number alone."""
    flat = channel.reshape(-1)
    if flat.size > most:
        flat = flat[np.random.default_rng(flat.size).integers(0, flat.size, most)]
    return flat.astype(np.float64)


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks, those of equal values being equal, with mean 0 and length 1; all 0 where there is one value only."""
    # Not by scipy.stats, which looks for torch.
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: NDArray[np.float64] = (np.cumsum(counts) - (counts - 1) / 2.0)[places]
    ranks -= ranks.mean()
    length = float(np.linalg.norm(ranks))
    return ranks / length if length > 0 else ranks
