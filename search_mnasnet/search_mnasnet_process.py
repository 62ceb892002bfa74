"""The search task: a folder of images, a device and a budget in, the best network for them out."""

import copy
import sys
from pathlib import Path

from ikomia import core, dataprocess

NAME = "search_mnasnet"
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
    from mnasnet.plugin.searching import SearchBar, add_outputs, clear_outputs, say_what_came_of, show_search
    from mnasnet.plugin.task import require_version, running
    from mnasnet.settings import SearchSettings
except ImportError as error:
    lacking = (error.name or "").partition(".")[0]
    if not lacking:
        raise
    raise ImportError(
        f"{NAME}: the package {lacking} is missing or too old; run this command and restart Ikomia: {CURE}"
    ) from error


class SearchMnasnetParam(SettingsParam):
    kind = SearchSettings


class SearchMnasnetParamFactory(dataprocess.CTaskParamFactory):
    def __init__(self):
        dataprocess.CTaskParamFactory.__init__(self)
        self.name = NAME

    def create(self):
        return SearchMnasnetParam()


class SearchMnasnet(core.CWorkflowTask):
    def __init__(self, name, param):
        core.CWorkflowTask.__init__(self, name)
        require_version(NAME, NEEDS, CURE)
        self.add_input(dataprocess.CPathIO(core.IODataType.FOLDER_PATH))
        add_outputs(self)
        self.set_param_object(SearchMnasnetParam() if param is None else copy.deepcopy(param))
        self._unfinished = None  # folder of a search that was stopped, and what it searched
        self._stopped = False
        self.beginning = False  # kept by running()

    def begin_task_run(self):
        if self.get_input(0) is None:  # Ikomia's own refusal does not say what is missing; run does
            self.set_input(dataprocess.CPathIO(core.IODataType.FOLDER_PATH, ""), 0)
        super().begin_task_run()

    def set_parameters(self, values):
        """Take typed or text values; an unknown name or a wrong value raises."""
        super().set_parameters(workflow_text(self.get_param_object(), values))

    def get_progress_steps(self):
        return PROGRESS_STEPS

    def stop(self):
        super().stop()
        self._stopped = True

    def run(self):
        self._stopped = False  # first, since a stop may come while the next line takes its seconds
        from mnasnet.search.run import NothingFoundError  # torch and Optuna start here, not with Ikomia

        clear_outputs(self)
        settings = self.get_param_object().settings
        with lines_on_stdout(), running(self):
            bar = StepBar(self.emit_step_progress)
            try:
                run = (
                    self._resume(settings.resume_folder, bar) if settings.resume_folder else self._search(settings, bar)
                )
            except NothingFoundError as error:
                show_search(self, error.searched)
                raise
            bar.finish()
            show_search(self, run)
            say_what_came_of(run)

    def _search(self, settings, bar):
        """A new search, or the one that was stopped, when nothing has changed since."""
        from mnasnet.search.run import Searching, run_search

        searching = Searching(
            data=input_folder(self), output_folder=output_folder(settings, FOLDER), **settings.arguments()
        )
        folder, searched = self._unfinished or (None, None)
        if folder and folder.is_dir():
            if searched == searching:
                run = resumed(folder, lambda: self._resume(folder, bar))
                if run is not None:
                    return run
            else:
                say_why_anew(folder)
        run = run_search(searching, listeners=[SearchBar(bar)], stop=lambda: self._stopped)
        self._unfinished = (run.folder, searching) if run.status == "stopped" else None
        return run

    def _resume(self, folder, bar):
        from mnasnet.search.run import resume_search

        run = resume_search(expanded(folder), listeners=[SearchBar(bar)], stop=lambda: self._stopped)
        if run.status != "stopped" and self._unfinished and run.folder == self._unfinished[0]:
            self._unfinished = None
        return run


class SearchMnasnetFactory(dataprocess.CTaskFactory):
    def __init__(self):
        dataprocess.CTaskFactory.__init__(self)
        describe(
            self.info,
            name=NAME,
            version="1.0.0",
            short_description="Find the best MnasNet for your images, your device and your latency budget",
            keywords="classification,mnasnet,neural architecture search,NAS,latency,mobile,edge,pareto",
            algo_type=core.AlgoType.OTHER,
            algo_tasks="OTHER",
            min_cpu=2,
            min_ram_gb=4,
        )

    def create(self, param=None):
        return SearchMnasnet(self.info.name, param)
