"""The training task: a folder of images in, a model file out."""

import copy
import sys
from dataclasses import replace
from pathlib import Path

from ikomia import core, dataprocess

NAME = "train_torchvision_mnasnet"
NEEDS = "1.0.0"  # the oldest mnasnet package this plugin works with
FOLDER = Path(__file__).parent
CHECKOUT = FOLDER.resolve().parent
SOURCE = f'-e "{CHECKOUT}"' if (CHECKOUT / "pyproject.toml").exists() else f'-r "{FOLDER / "requirements.txt"}"'
EMBEDDED = not Path(sys.executable or "").name.lower().startswith("python")  # in a program such as STUDIO
PYTHONS = [Path(sys.prefix) / name for name in ("python.exe", "Scripts/python.exe", "bin/python3", "bin/python")]
PYTHON = next((path for path in PYTHONS if EMBEDDED and path.is_file()), sys.executable)
CURE = f'"{PYTHON}" -m pip install {SOURCE}'

try:
    from mnasnet.files import expanded
    from mnasnet.plugin.long_task import PROGRESS_STEPS, StepBar, input_folder, output_folder, resumed, say_why_anew
    from mnasnet.plugin.metadata import describe
    from mnasnet.plugin.params import SettingsParam, workflow_text
    from mnasnet.plugin.printing import lines_on_stdout
    from mnasnet.plugin.task import connected_path, require_version, running
    from mnasnet.plugin.training import TrainingBar, add_outputs, clear_outputs, say_what_came_of, show_run, tracking
    from mnasnet.settings import TrainSettings
    from mnasnet.train.events import failures_told
    from mnasnet.train.listeners import TerminalProgress
except ImportError as error:
    lacking = (error.name or "").partition(".")[0]
    if not lacking:
        raise
    raise ImportError(
        f"{NAME}: the package {lacking} is missing or too old; run this command and restart Ikomia: {CURE}"
    ) from error


MODEL_INPUT = 1


class TrainTorchvisionMnasnetParam(SettingsParam):
    kind = TrainSettings


class TrainTorchvisionMnasnetParamFactory(dataprocess.CTaskParamFactory):
    def __init__(self):
        dataprocess.CTaskParamFactory.__init__(self)
        self.name = NAME

    def create(self):
        return TrainTorchvisionMnasnetParam()


class TrainTorchvisionMnasnet(dataprocess.CDnnTrainTask):
    """Ikomia's training task without what its Python class ``TrainProcess`` adds.

    That imports MLflow, which takes seconds, and starts servers, one of which listens to the whole network; see the
    parameters `tracking` and `tensorboard`.
    """

    def __init__(self, name, param):
        own_param = TrainTorchvisionMnasnetParam() if param is None else copy.deepcopy(param)
        dataprocess.CDnnTrainTask.__init__(self, name, own_param)
        require_version(NAME, NEEDS, CURE)
        self.add_input(dataprocess.CPathIO(core.IODataType.FOLDER_PATH))
        self.add_input(dataprocess.CPathIO(core.IODataType.FILE_PATH))
        add_outputs(self)
        self.set_param_object(own_param)
        self.enable_mlflow(False)  # else Ikomia opens a browser
        self.enable_tensorboard(False)
        self._unfinished = None  # folder of a run that was stopped, and what it trained
        self._stopped = False
        self.beginning = False  # kept by running()

    def begin_task_run(self):
        if self.get_input(0) is None:  # Ikomia's own refusal does not say what is missing; run does
            self.set_input(dataprocess.CPathIO(core.IODataType.FOLDER_PATH, ""), 0)
        super().begin_task_run()

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
        start = connected_path(self, MODEL_INPUT)
        if start:
            settings = settings.changed({"model_weight_file": start})
        with lines_on_stdout(), running(self):
            bar = StepBar(self.emit_step_progress)
            if settings.resume_folder:
                run = self._resume(settings, settings.max_minutes or None, bar)  # unset, the run's own counts
            else:
                run = self._train(settings, start, bar)
            bar.finish()
            show_run(self, run)
            say_what_came_of(run)

    def _train(self, settings, start, bar):
        """A new run, or the one that was stopped, when nothing but its time limit has changed since."""
        from mnasnet.train.plan import Training  # torch starts here, not with Ikomia
        from mnasnet.train.run import train

        data = input_folder(self, start)
        training = Training(
            data=data,
            output_folder=output_folder(settings, FOLDER),
            **{**settings.arguments(), "tensorboard": False},  # written where Ikomia looks for it
        )
        folder, trained = self._unfinished or (None, None)
        if folder and folder.is_dir():
            limit = training.max_minutes
            if replace(trained, max_minutes=limit) == training:
                run = resumed(folder, lambda: self._resume(settings.changed({"resume_folder": folder}), limit, bar))
                if run is not None:
                    return run
            else:
                say_why_anew(folder)
        run = self._told(settings, data, bar, lambda **told: train(training, **told))
        self._unfinished = (run.folder, training) if run.status == "stopped" else None
        return run

    def _resume(self, settings, limit, bar):
        from mnasnet.train.run import resume

        folder = expanded(settings.resume_folder)
        run = self._told(settings, folder, bar, lambda **told: resume(folder, max_minutes=limit, **told))
        if run.status != "stopped" and self._unfinished and run.folder == self._unfinished[0]:
            self._unfinished = None
        return run

    def _told(self, settings, folder, bar, work):
        """Do ``work`` with everybody listening who should."""
        services = tracking(settings, folder)
        with failures_told([services]):
            return work(listeners=[TerminalProgress(), TrainingBar(bar), services], stop=lambda: self._stopped)


class TrainTorchvisionMnasnetFactory(dataprocess.CTaskFactory):
    def __init__(self):
        dataprocess.CTaskFactory.__init__(self)
        describe(
            self.info,
            name=NAME,
            version="2.0.0",
            short_description="Train MnasNet on your own folder of images, also without a GPU",
            keywords="classification,mnasnet,train,fine-tuning,mobile,edge,torchvision",
            algo_type=core.AlgoType.TRAIN,
            algo_tasks="CLASSIFICATION",
            min_cpu=2,
            min_ram_gb=4,
        )

    def create(self, param=None):
        return TrainTorchvisionMnasnet(self.info.name, param)
