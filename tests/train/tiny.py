"""A training small enough for tests: thirty coloured images, a network of a few thousand weights."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from mnasnet.testing import TINY
from mnasnet.train.plan import Training


def tiny_training(data: Path, parent: Path, **chosen: Any) -> Training:
    """Three epochs at 32 pixels on one thread; run folders go into ``parent``, without pictures."""
    parent.mkdir(parents=True, exist_ok=True)
    spec = parent / "tiny.json"
    spec.write_text(json.dumps(TINY.to_dict()))
    training = Training(
        data=data,
        model=str(spec),
        pretrained=False,
        epochs=3,
        batch_size=8,
        input_size=32,
        threads=1,
        output_folder=parent,
        name="run",
        report=False,
    )
    return replace(training, **chosen)
