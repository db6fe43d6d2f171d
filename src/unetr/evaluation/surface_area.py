"""The area of the surface that passes between 2x2x2 voxels, for each of the 256 ways in which they can be labelled.

The surface is the one of marching cubes (Lorensen and Cline 1987) at level 0.5: it crosses each edge between an inside
and an outside voxel centre at its middle. The areas are worked out here from that geometry, in three steps:
the fewer of the inside and the outside corners are grouped into components joined along cube edges (so corners that
touch only diagonally are separate pieces); each component is surrounded by one closed loop of edge midpoints of
3 to 6 points; the loop is cut into triangles. Areas weighted in this way are the "surface elements" of
Nikolov et al. 2021 (arXiv 1809.04430), whose program is the oracle in the tests.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import product

import numpy as np
from numpy.typing import NDArray

Corner = tuple[int, int, int]
Point = tuple[float, float, float]

# Bit i of a neighbourhood code belongs to corner CORNERS[i]: code = sum of inside(corner) << (4 x + 2 y + z).
CORNERS: tuple[Corner, ...] = tuple((x, y, z) for x, y, z in product((0, 1), repeat=3))


def surface_areas(spacing_mm: tuple[float, float, float]) -> NDArray[np.float64]:
    """Area in mm2 of the surface inside the cube between 8 voxel centres, by neighbourhood code: float64[256]."""
    x, y, z = spacing_mm
    # A triangle's normal scales by the product of the two other spacings.
    scaled = _unit_normals() * np.array([y * z, x * z, x * y])
    areas: NDArray[np.float64] = np.linalg.norm(scaled, axis=2).sum(axis=1)
    return areas


@lru_cache(maxsize=1)
def _unit_normals() -> NDArray[np.float64]:
    """Normals of the triangles at spacing 1, as long as the triangle is large: [256, 4, 3], padded with zeros."""
    normals = np.zeros((256, 4, 3))
    for code in range(256):
        inside = [corner for bit, corner in enumerate(CORNERS) if code >> bit & 1]
        outside = [corner for corner in CORNERS if corner not in inside]
        minority = inside if len(inside) <= len(outside) else outside
        triangles = [triangle for part in _components(minority) for triangle in _triangles(part)]
        for i, (a, b, c) in enumerate(np.array(triangles).reshape(-1, 3, 3)):
            normals[code, i] = np.cross(b - a, c - a) / 2
    return normals


def _components(corners: list[Corner]) -> list[frozenset[Corner]]:
    """Groups corners that are joined along edges of the cube."""
    parts: list[frozenset[Corner]] = []
    for corner in corners:
        joined = [part for part in parts if any(_differ(corner, other) == 1 for other in part)]
        parts = [part for part in parts if part not in joined]
        parts.append(frozenset({corner}).union(*joined))
    return parts


def _triangles(component: frozenset[Corner]) -> list[tuple[Point, Point, Point]]:
    """Cuts the loop around one component of at most four corners into triangles.

    Every other point of the loop is cut off as an ear, beginning at the midpoint beside the corner with most neighbours
    in the component. All loops of 3, 4 and 6 points but one are plane, where every cut has the same area. For the L of
    three corners this is one triangle above the L and a plane quadrilateral; for the chain of four corners
    it leaves the triangle through every other point, the same area whichever three are taken.
    """
    loop = _loop(component)
    triangles = []
    position = 0
    while len(loop) > 3:
        position %= len(loop)
        triangles.append((loop[position - 1], loop[position], loop[(position + 1) % len(loop)]))
        del loop[position]
        position += 1
    return [*triangles, (loop[0], loop[1], loop[2])]


def _loop(component: frozenset[Corner]) -> list[Point]:
    """The edge midpoints around a component, each sharing a face of the cube with the next."""
    neighbours: dict[Point, int] = {}
    for corner in component:
        joined = sum(_differ(corner, other) == 1 for other in component)
        for other in CORNERS:
            if _differ(corner, other) == 1 and other not in component:
                x, y, z = ((a + b) / 2 for a, b in zip(corner, other, strict=True))
                neighbours[x, y, z] = joined
    loop: list[Point] = []
    left = sorted(neighbours, key=lambda point: (-neighbours[point], point))
    while left:
        following = next((p for p in left if not loop or _share_face(p, loop[-1])), left[0])
        left.remove(following)
        loop.append(following)
    return loop


def _differ(first: Corner, second: Corner) -> int:
    return sum(a != b for a, b in zip(first, second, strict=True))


def _share_face(first: Point, second: Point) -> bool:
    return any(a == b != 0.5 for a, b in zip(first, second, strict=True))
