"""Finds one person and three of its points; stands in for any pose task before a classification task."""

from ikomia import dataprocess


class IkomiaPlugin(dataprocess.CPluginProcessInterface):
    def __init__(self):
        dataprocess.CPluginProcessInterface.__init__(self)

    def get_process_factory(self):
        from standin_keypoints.standin_keypoints_process import StandinKeypointsFactory

        return StandinKeypointsFactory()
