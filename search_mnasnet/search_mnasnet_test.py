"""The entry that HUB CI calls: one very short search through the task as delivered."""

import logging
import tempfile

from ikomia.utils.tests import run_for_test

logger = logging.getLogger(__name__)


def test(t, data_dict):
    """Yield (parameters, "OK" or a traceback) of a search of two networks."""
    logger.info("===== Test::search_mnasnet =====")
    t.get_input(0).set_path(data_dict["datasets"]["classification"]["dataset_classification"])
    with tempfile.TemporaryDirectory() as folder:
        t.set_parameters(
            {
                "space": "tiny",
                "trials": "2",
                "minutes": "0",
                "target_latency_ms": "1000",
                "input_size": "64",
                "proxy_epochs": "1",
                "finalists": "0",
                "final_epochs": "1",
                "references": "False",
                "output_folder": folder,
            }
        )
        yield run_for_test(t)
