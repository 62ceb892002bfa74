"""The command line: ``python -m mnasnet COMMAND``; each command lives in its own module, imported when chosen."""

from __future__ import annotations

import argparse
import contextlib
import difflib
import errno
import importlib
import json
import logging
import os
import platform
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from mnasnet.errors import MnasNetError
from mnasnet.files import exists, reader_has_gone
from mnasnet.memory import one_arena
from mnasnet.words import one_line

#: command -> the module with ``add_arguments(parser)`` and ``run(arguments) -> exit code``, and its one-line help
COMMANDS: dict[str, tuple[str, str]] = {
    "classify": ("mnasnet.commands.classify", "classify images, folders and videos"),
    "check": ("mnasnet.commands.check", "what is in a dataset folder and what would spoil a training"),
    "train": ("mnasnet.commands.train", "train a model on a folder of images"),
    "resume": ("mnasnet.commands.resume", "go on with a training or a search that was stopped or killed"),
    "search": ("mnasnet.commands.search", "search the best network for images, a device and a budget"),
    "join": ("mnasnet.commands.join", "help a running search from another terminal or machine"),
    "extend": ("mnasnet.commands.extend", "continue a finished search"),
    "promote": ("mnasnet.commands.promote", "train any trial of a search fully"),
    "report": ("mnasnet.commands.report", "rebuild a search's report and files"),
    "spaces": ("mnasnet.commands.spaces", "the search spaces and their choices"),
    "crossval": ("mnasnet.commands.crossval", "how good a training on few images is: one for each fold"),
    "val": ("mnasnet.commands.val", "how good a model is on a folder of labelled images"),
    "export": ("mnasnet.commands.export", "a model for another runtime, checked against the original"),
    "benchmark": ("mnasnet.commands.benchmark", "accuracy and latency of models on this device: table, picture"),
    "profile": ("mnasnet.commands.profile", "time every piece of a search space on this device, into a table"),
    "agent": ("mnasnet.commands.agent", "run on another device and time the model files sent there"),
    "models": ("mnasnet.commands.models", "the networks: parameters, multiply-adds, published weights"),
    "info": ("mnasnet.commands.info", "what a model file holds"),
}

#: commands that would leave files behind where SIGTERM ends them; those that train or search hear of it themselves
TIDY = frozenset(("classify", "export", "benchmark", "profile"))

#: a module -> what pip calls its package, where that is another name
PACKAGES = {"PIL": "pillow", "yaml": "pyyaml", "sklearn": "scikit-learn"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; our errors become one line on stderr and code 2."""
    one_arena()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a name that the terminal cannot show must not end the run
            stream.reconfigure(errors="backslashreplace")
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    for chatty in ("matplotlib", "torch"):  # of fonts that are listed, of caches where Ctrl-C ended the import
        logging.getLogger(chatty).setLevel(logging.WARNING)
    # of Pillow, from half as many pixels on as it and we refuse: an attack, it says
    warnings.filterwarnings("ignore", r"Image size \(\d+ pixels\) exceeds limit")
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return _run(given)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    except ModuleNotFoundError as error:  # an installation that leaves some out, as an agent's
        module = (error.name or "").partition(".")[0]
        if module in ("", "mnasnet"):
            raise
        package = PACKAGES.get(module, module)
        return _failed(f"this needs the package {package}, which is not installed; run: pip install {package}", given)
    except ImportError as error:  # its own libraries find no room, or are not for this machine
        module = _raised_in(error)
        if module == "mnasnet":
            raise
        cure = f"give it more memory (ulimit -v), or install {PACKAGES.get(module, module)} anew"
        return _failed(f"{module} cannot be loaded: {one_line(error)}; {cure}", given)


def _run(given: list[str]) -> int:
    chosen = next((word for word in given if not word.startswith("-")), None)
    parser = _parser(chosen, given)
    if chosen is not None and chosen not in COMMANDS:
        parser.error(f"there is no command {chosen!r}{_nearest(chosen, COMMANDS)}")
    options, unknown = parser.parse_known_args(_dashed(given, parser, chosen))
    if unknown:
        command, known = _command_parser(parser, chosen), _options_of(parser, chosen)
        what = "option" if unknown[0].startswith("-") else "argument"
        meant = unknown[0].partition("=")[0].lstrip("-").replace("_", "-").removesuffix("-folder")
        places = [str(one.metavar or one.dest).upper() for one in command._actions if not one.option_strings]
        if meant in COMMANDS:
            hint = f", {meant} is a command: python -m mnasnet {meant}"
        elif meant.upper() in places:
            hint = f", {meant.upper()} is given without an option: {' '.join([command.prog, *places])}"
        else:
            hint = _nearest(unknown[0], known)
        command.error(f"unknown {what} {unknown[0]}{hint}")
    if chosen is None:
        parser.print_help()
        return 0 if not given else 2
    try:
        with _unwound_by_sigterm() if chosen in TIDY else contextlib.nullcontext():
            return int(importlib.import_module(COMMANDS[chosen][0]).run(options))
    except MnasNetError as error:
        return _failed(str(error), given, error.done)
    except OSError as error:
        if reader_has_gone(error):  # such as `head`; nothing is left to say
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        text = f"{error.strerror or error}: {error.filename or ''}".rstrip(": ")
        if error.errno == errno.ENOMEM:  # the file that was being opened has no part in it
            text = "memory ran out; close other programs, or raise the limit that this one has (ulimit -v)"
        return _failed(text, given)


@contextlib.contextmanager
def _unwound_by_sigterm() -> Iterator[None]:
    """SIGTERM ends what runs within as an exception does, so that nothing is left over; a second one ends it at once.

    A program that has a handler of its own, or another thread, is left alone.
    """
    is_ours = threading.current_thread() is threading.main_thread()
    if not is_ours or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return

    def leave(number: int, _: object) -> NoReturn:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _raised_in(error: BaseException) -> str:
    """The top package of the code that raised ``error``; what imports it has no part in it."""
    names = [str(frame.f_globals.get("__name__")) for frame, _ in traceback.walk_tb(error.__traceback__)]
    return next(top for name in reversed(names) if (top := name.partition(".")[0]) != "importlib")


def _failed(text: str, given: Sequence[str], done: Mapping[str, object] | None = None) -> int:
    """Say what went wrong; a program that reads standard output hears it there too, beside what was ``done``."""
    print(f"error: {text}", file=sys.stderr)
    if "--json" in given:
        with contextlib.suppress(OSError):  # it may be what failed
            print(json.dumps({"status": "failed", "error": text, **(done or {})}), flush=True)
    return 2


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, as every other error; ``given`` are the words of the command line."""

    def __init__(self, *, given: Sequence[str] = (), **options: Any) -> None:
        super().__init__(**options)
        self._given = given

    def error(self, message: str) -> NoReturn:
        raise SystemExit(_failed(f"{message}; `{self.prog} --help` lists what there is", self._given))


class _Versions(argparse.Action):
    """Prints what a report of a bug should tell."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from mnasnet import __version__
        from mnasnet.machine import processor_description
        from mnasnet.packages import is_installed, version

        packages = [
            f"{name} {version(name)}" if is_installed(name) else f"{name} is not installed"
            for name in ("torch", "onnxruntime")
        ]
        machine = [platform.platform(), processor_description()]
        text = "\n".join([f"mnasnet {__version__}", f"Python {platform.python_version()}", *packages, *machine])
        with contextlib.suppress(BrokenPipeError):  # the reader has gone
            print(text, flush=True)
        parser.exit()


def _nearest(word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word.partition("=")[0], list(known), n=1, cutoff=0.6)
    return f", did you mean {near[0]}?" if near else ""


def _parser(chosen: str | None, given: Sequence[str]) -> argparse.ArgumentParser:
    parser = _Parser(
        given=given,
        prog="python -m mnasnet",
        description="MnasNet: small, fast image classifiers for a device of your own.",
        formatter_class=_help_format,
    )
    parser.add_argument(
        "--version", action=_Versions, nargs=0, help="versions of this package, its engines and the machine, and exit"
    )
    commands = parser.add_subparsers(metavar="COMMAND", dest="command")
    for name, (module, help_text) in COMMANDS.items():
        command = commands.add_parser(
            name, help=help_text, description=f"{help_text[0].upper()}{help_text[1:]}.", given=given
        )
        if name == chosen:
            importlib.import_module(module).add_arguments(command)
    return parser


def _help_format(prog: str) -> argparse.HelpFormatter:
    """Beside each command its help, also beside the longest one, whose indent argparse forgets to count."""
    formatter = argparse.HelpFormatter(prog)
    formatter._action_max_length = 4 + max(map(len, COMMANDS))
    return formatter


def _dashed(words: Sequence[str], parser: argparse.ArgumentParser, chosen: str | None) -> list[str]:
    """``epochs=5`` as ``--epochs=5`` where the command has such an option.

    Values of options, files and folders, and what stands behind ``--``, stay as they are; a file whose name begins
    with a dash becomes one that cannot be taken for an option.
    """
    actions = {option: one for one in _command_parser(parser, chosen)._actions for option in one.option_strings}
    dashed: list[str] = []
    takes_value = False
    for place, word in enumerate(words):
        if word == "--":
            return [*dashed, *words[place:]]
        key, equals, value = word.partition("=")
        option = f"--{key.replace('_', '-')}"
        is_value, takes_value = takes_value, word in actions and actions[word].nargs not in (0, "?")
        if is_value or key in actions:
            dashed.append(word)
        elif exists(Path(word)):
            dashed.append(f"./{word}" if word.startswith("-") else word)
        else:
            dashed.append(f"{option}={value}" if equals and option in actions else word)
    return dashed


def _command_parser(parser: argparse.ArgumentParser, chosen: str | None) -> argparse.ArgumentParser:
    """The parser of one command; without one that of all."""
    for action in parser._actions:  # argparse has no public way to ask
        if isinstance(action, argparse._SubParsersAction) and chosen in action.choices:
            found: argparse.ArgumentParser = action.choices[chosen]
            return found
    return parser


def _options_of(parser: argparse.ArgumentParser, chosen: str | None) -> set[str]:
    """The options of one command."""
    return {option for action in _command_parser(parser, chosen)._actions for option in action.option_strings}
