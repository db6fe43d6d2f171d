"""The seal of a file: SHA-256 over all its bytes, with the digest's own 64 characters set to "0".

So any changed bit is seen. The three kinds of file that are sealed differ only in where they keep the digest.
"""

from __future__ import annotations

import hashlib

# What stands in the digest's place while the file is hashed.
NO_DIGEST = "0" * 64


def hashed(first: bytes, stored: str, *others: bytes) -> hashlib._Hash:
    """A hash of a file's parts; the digest that is `stored` in the first of them counts as NO_DIGEST.

    More parts may be added to it. A text that is no digest or is not there stays, so that a comparison with it fails.
    """
    at = first.find(stored.encode()) if len(stored) == len(NO_DIGEST) else -1
    view, digest = memoryview(first), hashlib.sha256()
    if at < 0:
        digest.update(view)
    else:
        digest.update(view[:at])
        digest.update(NO_DIGEST.encode())
        digest.update(view[at + len(NO_DIGEST) :])
    for other in others:
        digest.update(other)
    return digest


def seal(data: bytearray, *others: bytes) -> None:
    """In place: the digest of all parts goes to the place that was kept for it in the first.

    Raises ValueError unless there is just one such place.
    """
    place = NO_DIGEST.encode()
    if data.count(place) != 1:
        raise ValueError(f"there are {data.count(place)} places for the digest, not one")
    offset = data.index(place)
    data[offset : offset + len(place)] = hashed(bytes(data), NO_DIGEST, *others).hexdigest().encode()
