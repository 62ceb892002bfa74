"""Scores of many images, in batches that suit the device."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mnasnet.network.build import build
from mnasnet.preprocess import Preprocess
from mnasnet.testing import TINY
from mnasnet.train import objective
from mnasnet.train.batches import StoredImages
from mnasnet.train.objective import EVALUATION_BATCH, evaluation_batch, predict_logits


def test_a_processor_evaluates_as_many_images_at_once_as_its_caches_hold() -> None:
    assert evaluation_batch(224, "cpu") == evaluation_batch(1024, "cpu") == 16
    assert 16 < evaluation_batch(96, "cpu") < EVALUATION_BATCH
    assert evaluation_batch(64, "cpu") == evaluation_batch(224, "cuda") == EVALUATION_BATCH


def test_the_scores_of_images_do_not_depend_on_how_many_are_evaluated_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objective, "CACHED_PIXELS", 0)
    monkeypatch.setattr(objective, "FEWEST_AT_ONCE", 4)
    torch.manual_seed(0)
    network, sizes = build(TINY, 3), []
    pixels = np.random.default_rng(0).integers(0, 256, (10, 32, 32, 3), np.uint8)

    class Watched(StoredImages):
        def read(self, indices):  # type: ignore[no-untyped-def]
            sizes.append(len(indices))
            return super().read(indices)

    scores = predict_logits(network, Watched(pixels, np.zeros(10, np.int64)), Preprocess(32, 32))

    assert sizes == [4, 4, 2]
    monkeypatch.setattr(objective, "FEWEST_AT_ONCE", 10)
    at_once = predict_logits(network, StoredImages(pixels, np.zeros(10, np.int64)), Preprocess(32, 32))
    np.testing.assert_allclose(scores, at_once, atol=1e-5)
