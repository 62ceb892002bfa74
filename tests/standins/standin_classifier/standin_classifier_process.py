"""A real classification task of Ikomia that is none of ours."""

from ikomia import dataprocess


class StandinClassifier(dataprocess.CClassificationTask):
    def __init__(self, name):
        dataprocess.CClassificationTask.__init__(self, name)

    def run(self):
        self.begin_task_run()
        self.set_names(["this", "that"])
        self.set_whole_image_results(["this", "that"], ["0.9", "0.1"])
        self.end_task_run()


class StandinClassifierFactory(dataprocess.CTaskFactory):
    def __init__(self):
        dataprocess.CTaskFactory.__init__(self)
        self.info.name = "standin_classifier"

    def create(self, param=None):
        return StandinClassifier(self.info.name)
