"""A real dataset task of Ikomia: no input, a folder as output, as `dataset_classification` has it."""

from ikomia import core, dataprocess
from ikomia.core.task import TaskParam


class StandinDatasetParam(TaskParam):
    """``dataset_folder`` holds class folders, or ``train`` and ``val`` with class folders."""

    def __init__(self):
        TaskParam.__init__(self)
        self.cfg["dataset_folder"] = ""

    def set_values(self, values):
        self.cfg["dataset_folder"] = values["dataset_folder"]


class StandinDataset(core.CWorkflowTask):
    def __init__(self, name):
        core.CWorkflowTask.__init__(self, name)
        self.add_output(dataprocess.CPathIO(core.IODataType.FOLDER_PATH))
        self.set_param_object(StandinDatasetParam())

    def run(self):
        self.begin_task_run()
        self.get_output(0).set_path(self.get_param_object().cfg["dataset_folder"])
        self.end_task_run()


class StandinDatasetFactory(dataprocess.CTaskFactory):
    def __init__(self):
        dataprocess.CTaskFactory.__init__(self)
        self.info.name = "standin_dataset"
        self.info.path = "Plugins/Python/Dataset"

    def create(self, param=None):
        task = StandinDataset(self.info.name)
        if param is not None:
            task.set_param_object(param)
        return task
