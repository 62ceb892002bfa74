"""A dataset task that hands over the folder it is told; stands in for `dataset_classification`."""

from ikomia import dataprocess


class IkomiaPlugin(dataprocess.CPluginProcessInterface):
    def __init__(self):
        dataprocess.CPluginProcessInterface.__init__(self)

    def get_process_factory(self):
        from standin_dataset.standin_dataset_process import StandinDatasetFactory

        return StandinDatasetFactory()
