"""Run by .ci/no_torch without torch: every label file is torch's, and torch is really not there.

python tests/no_torch/compare.py EXPECTED PROBABILITIES FOUND [FOUND ...]

Engines add in different orders, so that scores differ by some 1e-5 (the export says how much). Where torch's two best
probabilities are as near to each other, either is right; everywhere else the labels must be the same.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec

import nibabel
import numpy as np

if find_spec("torch") is not None:
    sys.exit("torch is installed here; expected an environment without it")
TIE, MOST_TIES = 1e-4, 1e-4  # in probability; as a share of the voxels
expected, probabilities, *others = (nibabel.load(name) for name in sys.argv[1:])
truth = np.asarray(expected.dataobj)
best_two = np.sort(np.asarray(probabilities.dataobj), axis=-1)[..., -2:]
if probabilities.shape != (*truth.shape, 3) or not np.allclose(np.asarray(probabilities.dataobj).sum(-1), 1, atol=1e-3):
    sys.exit(f"{sys.argv[2]}: holds no probabilities of three classes on the grid of {sys.argv[1]}")
tied = best_two[..., 1] - best_two[..., 0] < TIE
if len(np.unique(truth)) < 3:
    sys.exit(f"the prediction has only the values {np.unique(truth)}; comparing it shows nothing")
ties = []
for name, found in zip(sys.argv[3:], others, strict=True):
    different = np.asarray(found.dataobj) != truth
    wrong = int(np.count_nonzero(different & ~tied))
    ties.append(int(np.count_nonzero(different)) - wrong)
    if wrong or not np.array_equal(found.affine, expected.affine):
        sys.exit(f"{name}: {wrong} voxels differ from torch's, or the grid does")
    if ties[-1] > MOST_TIES * truth.size:
        sys.exit(f"{name}: {ties[-1]} voxels differ from torch's where its scores are tied; too many to be ties")
print(f"{len(others)} predictions without torch equal torch's, {truth.size} voxels each, but for {ties} ties")
