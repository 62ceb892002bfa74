"""Segments two objects, each into pieces; stands in for any instance segmentation before a classification task."""

from ikomia import dataprocess


class IkomiaPlugin(dataprocess.CPluginProcessInterface):
    def __init__(self):
        dataprocess.CPluginProcessInterface.__init__(self)

    def get_process_factory(self):
        from standin_segmenter.standin_segmenter_process import StandinSegmenterFactory

        return StandinSegmenterFactory()
