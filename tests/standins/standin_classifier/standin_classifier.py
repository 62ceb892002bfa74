"""Names the whole image; stands in for another maker's classifier before a classification task."""

from ikomia import dataprocess


class IkomiaPlugin(dataprocess.CPluginProcessInterface):
    def __init__(self):
        dataprocess.CPluginProcessInterface.__init__(self)

    def get_process_factory(self):
        from standin_classifier.standin_classifier_process import StandinClassifierFactory

        return StandinClassifierFactory()
