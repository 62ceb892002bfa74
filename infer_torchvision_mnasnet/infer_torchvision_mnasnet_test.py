"""The entry that HUB CI calls: one real image through the task as delivered."""

import logging

from ikomia.utils.tests import run_for_test

logger = logging.getLogger(__name__)


def test(t, data_dict):
    """Yield (parameters, "OK" or a traceback) for each way to run the task without a download."""
    logger.info("===== Test::infer_torchvision_mnasnet =====")
    t.get_input(0).load(data_dict["images"]["detection"]["coco"])
    for changes in ({}, {"top_k": "1", "confidence_threshold": "0.9"}, {"runtime": "torch"}, {"draw_on_image": "True"}):
        t.set_parameters(changes)
        yield run_for_test(t)
