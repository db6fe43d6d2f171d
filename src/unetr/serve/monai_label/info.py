"""What `/info/` says: the models and their labels, as 3D Slicer's module and OHIF's plugin read it.

Slicer takes an entry `config` at the top for a server of an old kind, and names segments by position. OHIF adds to the
list `labels`, remembers a model's `labels` by their numbers, and holds numbers in a byte.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from unetr.core.version import __version__
from unetr.queue.service import OfferedModel

DESCRIPTION = "Segments with the models that this server offers; it does not train."


def names_of(model: OfferedModel) -> dict[str, int]:
    """Name -> value in label files, without the background, by value."""
    named = sorted(model.labels.items(), key=lambda item: item[1])
    return {name: value for name, value in named if value != 0}


def numbers_of(values: Mapping[str, int]) -> dict[str, int]:
    """Name -> number from 1 without gaps: what clients are told, whatever the values in label files are.

    values: name -> value, by value.
    """
    return {name: number for number, name in enumerate(values, start=1)}


def info(models: Mapping[str, OfferedModel], datastore: Mapping[str, Any]) -> dict[str, Any]:
    """The document. datastore: as `/datastore/` tells it."""
    told = {name: _model(model) for name, model in models.items()}
    return {
        "name": "unetr",
        "description": DESCRIPTION,
        "version": __version__,
        "labels": list(dict.fromkeys(name for model in models.values() for name in names_of(model))),
        "models": told,
        "trainers": {},
        "strategies": {},
        "scoring": {},
        "train_stats": {},
        "datastore": dict(datastore),
    }


def _model(model: OfferedModel) -> dict[str, Any]:
    return {
        "type": "segmentation",
        "dimension": 3,
        "description": model.title,
        "version": model.sha256[:12],
        "labels": numbers_of(names_of(model)),
        # What a client may choose; it sends it back in the `params` of a request.
        "config": {"tta": False},
    }
