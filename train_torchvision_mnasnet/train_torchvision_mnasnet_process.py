"""The training task: a folder of images in, a model file out."""

import copy
from pathlib import Path

from ikomia import core, dataprocess
from ikomia.dnn import dnntrain

NAME = "train_torchvision_mnasnet"
NEEDS = "1.0.0"  # the oldest mnasnet package this plugin works with
FOLDER = Path(__file__).parent

try:
    from mnasnet.plugin.params import SettingsParam, workflow_text
    from mnasnet.plugin.task import require_version, running
    from mnasnet.plugin.training import (
        PROGRESS_STEPS,
        StepProgress,
        add_outputs,
        clear_outputs,
        input_folder,
        lines_on_stdout,
        output_folder,
        say_what_came_of,
        show_run,
        tracking,
    )
    from mnasnet.settings import TrainSettings
    from mnasnet.train.listeners import TerminalProgress
except ImportError as error:
    if (error.name or "").partition(".")[0] != "mnasnet":
        raise
    raise ImportError(
        f"the package mnasnet {NEEDS} or newer is not installed; "
        f"run: python -m pip install -r {FOLDER / 'requirements.txt'} and restart Ikomia"
    ) from None


class TrainTorchvisionMnasnetParam(SettingsParam):
    kind = TrainSettings


class TrainTorchvisionMnasnetParamFactory(dataprocess.CTaskParamFactory):
    def __init__(self):
        dataprocess.CTaskParamFactory.__init__(self)
        self.name = NAME

    def create(self):
        return TrainTorchvisionMnasnetParam()


class TrainTorchvisionMnasnet(dnntrain.TrainProcess):
    def __init__(self, name, param):
        own_param = TrainTorchvisionMnasnetParam() if param is None else copy.deepcopy(param)
        dnntrain.TrainProcess.__init__(self, name, own_param)
        require_version(NEEDS, FOLDER)
        self.remove_input(0)
        self.add_input(dataprocess.CPathIO(core.IODataType.FOLDER_PATH))
        add_outputs(self)
        self.set_param_object(own_param)
        self.enable_mlflow(False)  # else Ikomia opens a browser
        self.enable_tensorboard(False)
        self._unfinished = None  # folder of a run that was stopped, and what it trained
        self._stopped = False
        self.beginning = False  # kept by running()

    @staticmethod
    def _init_mlflow():
        """Ikomia's own would start a server that listens to the whole network."""

    @staticmethod
    def _init_tensorboard():
        """Ikomia's own would start a server that outlives the process."""

    def begin_task_run(self):
        """Without Ikomia's MLflow run, which waits minutes for a dead server; see the parameter `tracking`."""
        if self.get_input(0) is None:  # refused with a riddle otherwise; run knows whether a folder is needed
            self.set_input(dataprocess.CPathIO(core.IODataType.FOLDER_PATH, ""), 0)
        dataprocess.CDnnTrainTask.begin_task_run(self)

    def end_task_run(self):
        dataprocess.CDnnTrainTask.end_task_run(self)

    def set_parameters(self, values):
        """Take typed or text values under today's or old names; an unknown name or a wrong value raises."""
        super().set_parameters(workflow_text(self.get_param_object(), values))

    def get_progress_steps(self):
        return PROGRESS_STEPS

    def stop(self):
        super().stop()
        self._stopped = True

    def run(self):
        self._stopped = False
        clear_outputs(self)
        settings = self.get_param_object().settings
        with lines_on_stdout(), running(self):
            progress = StepProgress(self.emit_step_progress)
            run = self._resume(settings, progress) if settings.resume_folder else self._train(settings, progress)
            progress.finish()
            show_run(self, run)
            say_what_came_of(run)

    def _train(self, settings, progress):
        """A new run, or the one that was stopped, when nothing has changed since."""
        from mnasnet.train.run import Training, train  # torch starts here, not with Ikomia

        data = input_folder(self)
        training = Training(
            data=data,
            output_folder=output_folder(settings, FOLDER),
            **{**settings.arguments(), "tensorboard": False},  # written where Ikomia looks for it
        )
        folder, trained = self._unfinished or (None, None)
        if trained == training and folder.is_dir():
            return self._resume(settings.changed({"resume_folder": folder}), progress)
        run = self._told(settings, data.name, progress, lambda **told: train(training, **told))
        self._unfinished = (run.folder, training) if run.status == "stopped" else None
        return run

    def _resume(self, settings, progress):
        from mnasnet.train.run import resume

        folder = Path(settings.resume_folder).expanduser()
        run = self._told(
            settings, folder.name, progress, lambda **told: resume(folder, max_minutes=settings.max_minutes, **told)
        )
        if run.status != "stopped":
            self._unfinished = None
        return run

    def _told(self, settings, name, progress, work):
        """Do ``work`` with everybody listening who should."""
        services = tracking(settings, name)
        try:
            return work(listeners=[TerminalProgress(), progress, services], stop=lambda: self._stopped)
        except BaseException as error:
            services.fail(error)
            raise


class TrainTorchvisionMnasnetFactory(dataprocess.CTaskFactory):
    def __init__(self):
        dataprocess.CTaskFactory.__init__(self)
        self.info.name = NAME
        self.info.short_description = "Train MnasNet on your own folder of images, also without a GPU"
        self.info.authors = "M. Tan, B. Chen, R. Pang, V. Vasudevan, M. Sandler, A. Howard, Q. V. Le"
        self.info.article = "MnasNet: Platform-Aware Neural Architecture Search for Mobile"
        self.info.article_url = "https://arxiv.org/abs/1807.11626"
        self.info.journal = "Conference on Computer Vision and Pattern Recognition (CVPR)"
        self.info.year = 2019
        self.info.license = "Apache-2.0"
        self.info.documentation_link = "https://github.com/Ikomia-hub/train_torchvision_mnasnet"
        self.info.repository = "https://github.com/Ikomia-hub/train_torchvision_mnasnet"
        self.info.original_repository = "https://github.com/tensorflow/tpu/tree/master/models/official/mnasnet"
        self.info.keywords = "classification,mnasnet,train,fine-tuning,mobile,edge,torchvision"
        self.info.path = "Plugins/Python/Classification"
        self.info.icon_path = f"icons/{NAME}.png"
        self.info.version = "2.0.0"
        self.info.min_ikomia_version = "0.16.0"
        self.info.min_python_version = "3.10.0"
        self.info.max_python_version = "3.13.0"
        self.info.algo_type = core.AlgoType.TRAIN
        self.info.algo_tasks = "CLASSIFICATION"
        self.info.hardware_config.min_cpu = 2
        self.info.hardware_config.min_ram = 4
        self.info.hardware_config.gpu_required = False
        self.info.hardware_config.min_vram = 0

    def create(self, param=None):
        return TrainTorchvisionMnasnet(self.info.name, param)
