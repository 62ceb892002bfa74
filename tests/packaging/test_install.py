"""The zips as their users get them: unpacked into an empty home, installed by Ikomia, run, reloaded, upgraded."""

from __future__ import annotations

import os
import re
import shutil
import site
import subprocess
import sys
import sysconfig
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pack_plugins
import pytest

from mnasnet.modelfile import save
from mnasnet.testing import coloured_image, random_model, write_image_folder

pytest.importorskip("ikomia")
pytestmark = [pytest.mark.ikomia, pytest.mark.slow]

ROOT = Path(__file__).parent.parent.parent
PLUGINS = [name for name in pack_plugins.PLUGINS if (ROOT / name).is_dir()]
INFER, TRAIN, SEARCH = "infer_torchvision_mnasnet", "train_torchvision_mnasnet", "search_mnasnet"
START = "import ikomia, mnasnet\nfrom ikomia.dataprocess.registry import ik_registry\n"
WORKFLOW = "from ikomia.dataprocess.workflow import Workflow\nworkflow = Workflow('w')\n"
TASK = "task = workflow.add_task(name='{name}', auto_connect=True, public_hub=False)\n"
ON_FOLDER = (
    "workflow.set_directory_input(folder=r'{data}')\nworkflow.run()\n"
    "assert task.get_output(0).get_path().startswith(r'{home}'), task.get_output(0).get_path()\n"
)
RUN = {
    INFER: WORKFLOW
    + TASK
    + "workflow.run_on(path=r'{photo}')\nassert len(task.get_results()) == 5, task.get_results()\n",
    TRAIN: WORKFLOW
    + TASK
    + "task.set_parameters(dict(model_weight_file=r'{model}', input_size=32, epochs=1, threads=1))\n"
    + ON_FOLDER,
    SEARCH: WORKFLOW
    + TASK
    + "task.set_parameters(dict(space='tiny', trials=1, minutes=0, target_latency_ms=1000, input_size=32, "
    "proxy_epochs=1, finalists=0, final_epochs=1, references=False, profile=False, train_threads=1))\n" + ON_FOLDER,
}


@dataclass(frozen=True)
class Machine:
    """A user's machine: a home and a Python that has everything that is not ours."""

    home: Path
    python: Path

    @property
    def plugins(self) -> Path:
        return self.home / "Ikomia" / "Plugins" / "Python"

    def unpack(self, zipped: Path) -> Path:
        """As Ikomia does: whatever was in the plugin's folder goes."""
        target = self.plugins / zipped.stem
        shutil.rmtree(target, ignore_errors=True)
        with zipfile.ZipFile(zipped) as file:
            file.extractall(target)
        return target

    def install(self, zipped: Path) -> None:
        """Unpack, then let Ikomia's own function install the requirements."""
        target = self.unpack(zipped)
        self.succeed(f"from ikomia.utils import plugintools\nplugintools.install_requirements(r'{target}')\n")

    def succeed(self, code: str) -> str:
        """What ``code`` prints; it has to end well."""
        done = self.run(code)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def run(self, code: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.python, "-c", code],
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(self.home),
                "USERPROFILE": str(self.home),
                "IKOMIA_AUTO_COMPLETION": "false",
                "OMP_NUM_THREADS": "1",
                "PIP_NO_INDEX": "1",  # all that is not ours is there, and ours travels in the zip
                "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            },
            cwd=self.home,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )

    def obey(self, line: str) -> None:
        """Run the command that one line of a plugin's refusal ends with."""
        command = re.search(r'run this command and restart Ikomia: (".+?" -m pip install -r ".+?")', line)[1]
        self.succeed(f"import subprocess\nsubprocess.run(r'''{command}''', shell=True, check=True)\n")

    def run_plugin(self, name: str) -> str:
        """Python text that runs the plugin on what lies in the home."""
        files = {"photo": "photo.png", "model": "start.safetensors", "data": "colours"}
        return RUN[name].format(name=name, home=self.home, **{key: self.home / file for key, file in files.items()})


@pytest.fixture
def machine(tmp_path) -> Machine:
    """Packages other than ours are lent by this Python, so that nothing has to be downloaded."""
    lent, home = tmp_path / "lent", tmp_path / "home"
    lent.mkdir()
    for entry in sorted(entry for folder in site.getsitepackages() for entry in Path(folder).glob("*")):
        if "mnasnet" not in entry.name and entry.suffix != ".pth" and not (lent / entry.name).exists():
            (lent / entry.name).symlink_to(entry)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    packages = sysconfig.get_path("purelib", "venv", {"base": str(tmp_path / "venv")})
    (Path(packages) / "lent.pth").write_text(f"{lent}\n")
    write_image_folder(home / "colours", per_class=6)
    coloured_image((200, 40, 40)).save(home / "photo.png")
    save(random_model(class_names=("a", "b")), home / "start.safetensors")
    return Machine(home, tmp_path / "venv" / "bin" / "python")


@pytest.mark.parametrize("name", PLUGINS)
def test_a_zip_alone_installs_offline_loads_and_runs(machine, packed, name):
    machine.install(packed / f"{name}.zip")

    machine.succeed(START + f"assert r'{machine.python.parent.parent}' in mnasnet.__file__, mnasnet.__file__\n")
    machine.succeed(START + machine.run_plugin(name))


@pytest.mark.parametrize("name", PLUGINS)
def test_the_command_that_a_plugin_without_its_package_names_mends_it(machine, packed, name):
    """pip failures at installation are invisible in Ikomia, so this line is all that the user gets to see."""
    machine.unpack(packed / f"{name}.zip")
    load = f"import ikomia.dataprocess.registry as at\nat.ik_registry.create_algorithm('{name}', public_hub=False)\n"

    told = machine.run(load).stderr
    machine.obey(re.search(rf"^.*{name}: the package mnasnet is missing .*$", told, re.MULTILINE)[0])

    machine.succeed(load)


def test_the_command_that_a_plugin_newer_than_its_package_names_mends_it(machine, packed, tmp_path):
    machine.install(pack_older(tmp_path) / f"{INFER}.zip")
    machine.unpack(packed / f"{INFER}.zip")  # its package did not get in, which Ikomia hides

    told = machine.run(START + machine.run_plugin(INFER))
    assert told.returncode != 0
    refusal = re.search(rf"^.*{INFER} needs mnasnet 1.* or newer, found 0\.9\.0; .*$", told.stderr, re.MULTILINE)
    machine.obey(refusal[0])

    machine.succeed(START + machine.run_plugin(INFER))


@pytest.mark.parametrize("name", PLUGINS)
def test_the_entry_for_the_hubs_tests_passes_as_delivered(machine, packed, name):
    machine.install(packed / f"{name}.zip")
    data = {
        "images": {"detection": {"coco": str(machine.home / "photo.png")}},
        "datasets": {"classification": {"dataset_classification": str(machine.home / "colours")}},
    }

    machine.succeed(
        START + f"task = ik_registry.create_algorithm('{name}', public_hub=False)\n"
        f"from {name}.{name}_test import test\nresults = list(test(task, {data!r}))\n"
        "assert results and {status for _, status in results} == {'OK'}, results\n"
    )


def test_reloading_one_plugin_leaves_the_others_working(machine, packed):
    for name in PLUGINS:
        machine.install(packed / f"{name}.zip")

    code = START + "".join(f"ik_registry.create_algorithm('{name}', public_hub=False)\n" for name in PLUGINS)
    for reloaded in PLUGINS:
        code += f"ik_registry.load_python_algorithm(r'{machine.plugins / reloaded}')\n"
        code += "".join(machine.run_plugin(name) for name in PLUGINS if name != reloaded)
    code += "ik_registry.load_algorithms()\n" + "".join(machine.run_plugin(name) for name in PLUGINS)
    machine.succeed(code)


def test_an_upgrade_replaces_plugin_and_package_and_keeps_the_users_files(machine, packed, tmp_path):
    older = pack_older(tmp_path)
    machine.install(older / f"{TRAIN}.zip")
    machine.install(older / f"{INFER}.zip")
    assert machine.succeed(START + "print(mnasnet.__version__)").strip().endswith("0.9.0")
    machine.succeed(START + machine.run_plugin(TRAIN))
    trained = machine.home / "Ikomia" / "Data" / TRAIN / "colours" / "weights" / "best.safetensors"
    kept = {path: path.read_bytes() for path in (trained, machine.home / "start.safetensors")}

    machine.install(packed / f"{TRAIN}.zip")

    assert {path: path.read_bytes() for path in kept} == kept
    assert "0.9.0" not in machine.succeed(START + "print(mnasnet.__version__)")
    machine.succeed(START + machine.run_plugin(TRAIN))
    machine.succeed(  # the plugin that is still the older one works with the newer package, on the older model
        START + WORKFLOW + TASK.format(name=INFER) + f"task.set_parameters(dict(model_weight_file=r'{trained}'))\n"
        f"workflow.run_on(path=r'{machine.home / 'photo.png'}')\nassert len(task.get_results()) == 3\n"
    )


def pack_older(folder: Path) -> Path:
    """The zips of this checkout as release 0.9.0."""
    older = folder / "older"
    for name in ("mnasnet", "icons", *PLUGINS):
        shutil.copytree(ROOT / name, older / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, older)
    replace(older / "mnasnet" / "__init__.py", r'__version__ = ".*"', '__version__ = "0.9.0"')
    for name in PLUGINS:
        replace(older / name / f"{name}_process.py", r'NEEDS = ".*?"', 'NEEDS = "0.9.0"')
    pack_plugins.pack(folder / "older_packed", older)
    return folder / "older_packed"


def replace(path: Path, old: str, new: str) -> None:
    text, count = re.subn(old, new, path.read_text(encoding="utf-8"))
    assert count == 1
    path.write_text(text, encoding="utf-8")
