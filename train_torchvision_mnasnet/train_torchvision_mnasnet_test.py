"""The entry that HUB CI calls: one short training through the task as delivered."""

import logging
import tempfile

from ikomia.utils.tests import run_for_test

logger = logging.getLogger(__name__)


def test(t, data_dict):
    """Yield (parameters, "OK" or a traceback): from the bundled model, then the classifier alone."""
    logger.info("===== Test::train_torchvision_mnasnet =====")
    t.get_input(0).set_path(data_dict["datasets"]["classification"]["dataset_classification"])
    with tempfile.TemporaryDirectory() as folder:
        for changes in ({"export_onnx": "True"}, {"feature_extract": "True", "batch_size": "4"}):
            t.set_parameters({"epochs": "1", "input_size": "64", "output_folder": folder, **changes})
            yield run_for_test(t)
