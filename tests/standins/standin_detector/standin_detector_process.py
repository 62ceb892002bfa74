"""A real detection task of Ikomia without a network."""

from ikomia import dataprocess
from ikomia.core.task import TaskParam


class StandinDetectorParam(TaskParam):
    """``boxes`` is "x,y,width,height" in pixels, several separated by semicolons."""

    def __init__(self):
        TaskParam.__init__(self)
        self.cfg["boxes"] = ""

    def set_values(self, values):
        self.cfg["boxes"] = values["boxes"]


class StandinDetector(dataprocess.CObjectDetectionTask):
    def __init__(self, name):
        dataprocess.CObjectDetectionTask.__init__(self, name)
        self.set_param_object(StandinDetectorParam())

    def run(self):
        self.begin_task_run()
        self.set_names(["thing"])
        boxes = filter(None, self.get_param_object().cfg["boxes"].split(";"))
        for index, box in enumerate(boxes):
            self.add_object(index, 0, 0.9, *map(float, box.split(",")))
        self.end_task_run()


class StandinDetectorFactory(dataprocess.CTaskFactory):
    def __init__(self):
        dataprocess.CTaskFactory.__init__(self)
        self.info.name = "standin_detector"
        self.info.path = "Plugins/Python/Detection"

    def create(self, param=None):
        task = StandinDetector(self.info.name)
        if param is not None:
            task.set_param_object(param)
        return task
