"""Run by .ci/no_torch without torch: every label file is torch's, and torch is really not there.

python tests/no_torch/compare.py EXPECTED FOUND [FOUND ...]
"""

from __future__ import annotations

import sys
from importlib.util import find_spec

import nibabel
import numpy as np

if find_spec("torch") is not None:
    sys.exit("torch is installed here; expected an environment without it")
expected, *others = (nibabel.load(name) for name in sys.argv[1:])
truth = np.asarray(expected.dataobj)
if len(np.unique(truth)) < 3:
    sys.exit(f"the prediction has only the values {np.unique(truth)}; comparing it shows nothing")
for name, found in zip(sys.argv[2:], others, strict=True):
    different = int(np.count_nonzero(np.asarray(found.dataobj) != truth))
    if different or not np.array_equal(found.affine, expected.affine):
        sys.exit(f"{name}: {different} voxels differ from torch's, or the grid does")
print(f"{len(others)} predictions without torch equal torch's, {truth.size} voxels each")
