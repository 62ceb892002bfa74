"""A detector that finds exactly the boxes it is told; stands in for any detector before a classification task."""

from ikomia import dataprocess


class IkomiaPlugin(dataprocess.CPluginProcessInterface):
    def __init__(self):
        dataprocess.CPluginProcessInterface.__init__(self)

    def get_process_factory(self):
        from standin_detector.standin_detector_process import StandinDetectorFactory

        return StandinDetectorFactory()
