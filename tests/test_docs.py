"""The documentation is true: what follows from code is current, links lead somewhere, blocks run as they stand."""

import argparse
import importlib
import inspect
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from documents import ROOT, anchors, blocks, commands, links, make_workplace, printed, read, run_command, run_python

sys.path.insert(0, str(ROOT / "tools"))

import docs_site
import draw_docs
import error_catalogue
import error_messages
import make_docs

import demo
from mnasnet import errors, modelfile
from mnasnet.cli import COMMANDS
from mnasnet.commands.train import training_of
from mnasnet.testing import random_model
from mnasnet.train.plan import start_model

PAGES = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").glob("*.md"))
TEXTS = [*PAGES, *docs_site.ELSEWHERE.values()]
#: commands for a board or a phone run in tests/latency/test_devices_page.py and test_adb.py
RUN_PAGES = [page for page in PAGES if page not in ("docs/devices.md", "docs/photos10.md", "docs/figures.md")]


@pytest.fixture(scope="module")
def made():
    return make_docs.pages()


@pytest.mark.parametrize("name", ["parameters.md", "commands.md", "errors.md"])
def test_page_made_from_the_code_is_current(name, made):
    assert read(f"docs/{name}") == made[make_docs.DOCS / name], "run: python tools/make_docs.py"


def test_every_family_of_errors_has_an_example():
    families = {kind for kind in vars(errors).values() if inspect.isclass(kind)} - {errors.MnasNetError}

    assert {entry.family for entry in error_catalogue.ENTRIES if entry.mistake} == families


def test_every_error_in_the_source_has_an_entry_with_meaning_and_fix():
    raised = error_messages.raised()

    assert len(raised) > 350
    assert [error for error in raised if error_catalogue.entry_of(error) is None] == [], "tools/error_catalogue.py"
    assert [entry.title for entry in error_catalogue.ENTRIES if not (entry.meaning and entry.fix)] == []


def test_no_entry_waits_for_an_error_that_is_gone():
    waiting = {(entry.title, message) for entry in error_catalogue.ENTRIES for message in entry.messages}

    for error in error_messages.raised():
        entry = error_catalogue.entry_of(error)
        waiting -= {(entry.title, message) for message in entry.messages if re.search(message, error.sign)}
    assert waiting == set()


FIXES = sorted(
    {typed for entry in error_catalogue.ENTRIES for typed in re.findall("`python -m mnasnet (.*?)`", entry.fix)}
)


@pytest.mark.parametrize("typed", FIXES)
def test_a_command_that_a_fix_tells_is_understood_and_has_a_start(typed):
    name, *words = typed.split()
    parser = argparse.ArgumentParser()
    importlib.import_module(COMMANDS[name][0]).add_arguments(parser)

    if words:  # a name alone says which command helps
        arguments = parser.parse_args(words)
        if name == "train":
            start_model(training_of(arguments)[1])


SOURCES = {
    "words with gaps": ('raise SpecError(f"kernel {n} is " "even")', "SpecError", "kernel … is even", "found"),
    "returned": ('return LatencyError("ended")', "LatencyError", "ended", "found"),
    "by its module": ('raise errors.DataError("empty")', "DataError", "empty", "found"),
    "of a class of its own": ('raise OwnError("mine")', "DataError", "mine", "found"),
    "made elsewhere": ("raise DataError(reason)", "DataError", "…", "found"),
}


@pytest.mark.parametrize("case", SOURCES)
def test_an_error_is_found_however_it_is_raised(case):
    line, family, words, function = SOURCES[case]
    source = f"class OwnError(DataError): ...\ndef {function}(n, reason):\n    {line}\n"

    found = error_messages.raised_in({"place.py": source})

    assert found == [error_messages.Raised(family, words, f"place.py:{function}")]
    assert error_catalogue.entry_of(error_messages.Raised(family, "quite new", "place.py:found")) is None


def test_the_site_lists_every_message_with_the_entry_that_explains_it():
    listed = error_catalogue.messages_page()

    assert "| kernel must be odd to keep the image centred, got … | [A block or network" in listed
    assert set(re.findall(r"\]\(#([^)]+)\)", listed)) <= anchors(read("docs/errors.md"))
    assert listed.count("\n| ") > 300


def test_the_layer_picture_shows_the_layers_that_are_checked():
    assert read("docs/images/layers.svg") == draw_docs.layers(), "run: python tools/make_docs.py"


def test_every_equation_is_drawn_as_it_is_written():
    drawn = {name: read(f"docs/images/{name}.svg") for name in draw_docs.EQUATIONS}

    wrong = [name for name, tex in draw_docs.EQUATIONS.items() if draw_docs.escape(tex, quote=False) not in drawn[name]]
    assert wrong == []


@pytest.mark.parametrize("name", TEXTS)
def test_every_link_leads_to_a_file_and_a_heading(name):
    text, folder = read(name), Path(name).parent

    dead = []
    for path, anchor in links(text):
        target = (ROOT / folder / path) if path else ROOT / name
        headings = anchors(target.read_text(encoding="utf-8")) if anchor and target.suffix == ".md" else set()
        if not target.exists() or (anchor and anchor not in headings):
            dead.append(f"{path}#{anchor}")
    assert dead == []


def test_the_page_of_figures_names_every_benchmark():
    scripts = {path.name for path in (ROOT / "benchmarks").glob("*.py")} - {"torchvision_loop.py"}  # a part of training

    assert {script for script in scripts if f"benchmarks/{script}" not in read("docs/figures.md")} == set()


def test_every_page_is_in_the_menu_of_the_site():
    menu = set(re.findall(r": (\w+\.md)$", read("mkdocs.yml"), re.MULTILINE))

    assert {Path(page).name for page in PAGES} | set(docs_site.ELSEWHERE) == menu


@pytest.mark.parametrize(
    ("source", "place", "link", "shown"),
    [
        ("README.md", "index.md", "docs/train.md#few-images", "train.md#few-images"),
        ("README.md", "index.md", "docs/images/classified_cat.png", "images/classified_cat.png"),
        ("docs/train.md", "train.md", "../benchmarks/README.md", "benchmarks.md"),
        ("docs/model_file.md", "model_file.md", "../mnasnet/spec.py", f"{docs_site.SOURCE}/mnasnet/spec.py"),
        ("search_mnasnet/README.md", "search_mnasnet.md", f"{docs_site.RAW}docs/images/a.png", "images/a.png"),
        ("docs/errors.md", "errors.md", "https://arxiv.org/abs/1807.11626", "https://arxiv.org/abs/1807.11626"),
    ],
)
def test_links_of_the_repository_become_links_of_the_site(source, place, link, shown):
    assert docs_site.with_site_links(f"see [this]({link}).", source, place) == f"see [this]({shown})."


def test_the_page_of_the_model_file_names_every_field():
    told = re.findall(r"^\| `(\w+)` \|", read("docs/model_file.md"), re.MULTILINE)

    assert told == list(modelfile.header_of(replace(random_model(), int8_ranges={"stem": (0.0, 1.0)})))


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    return make_workplace(tmp_path_factory.mktemp("docs"))


def told(find):
    return [
        pytest.param(text, id=f"{Path(page).stem}: {text.strip().splitlines()[0][:60]}")
        for page in RUN_PAGES
        for text in find(read(page))
    ]


@pytest.mark.slow
@pytest.mark.parametrize("code", told(lambda text: blocks(text, "python")))
def test_python_block_runs(code, workplace):
    run_python(code, workplace)


@pytest.mark.slow
@pytest.mark.parametrize("command", told(commands))
def test_command_runs(command, workplace):
    run_command(command, workplace)


def shape(line):
    """A line without what differs from machine to machine: numbers, and how columns are aligned to them."""
    return re.sub(r"[-\s]+", " ", re.sub(r"\d[\d.,]*", "0", line)).strip()


@pytest.mark.slow
def test_a_cat_is_classified_as_the_page_shows(tmp_path):
    (cat, *_) = demo.write_photos(tmp_path)
    cat.rename(tmp_path / "photo.jpg")
    ((command, lines),) = printed(read("docs/classify.md"))

    assert shape(lines[0]) in map(shape, run_command(command, tmp_path).splitlines())


@pytest.mark.slow
def test_a_training_prints_what_the_page_shows(tmp_path):
    demo.write_digits(tmp_path / "photos")

    for command, lines in printed(read("docs/train.md")):
        output = {shape(line) for line in run_command(command, tmp_path).splitlines()}

        assert len(lines) >= 5
        assert [line for line in lines if shape(line) not in output] == []


@pytest.mark.slow
def test_a_search_foretells_what_the_page_shows(tmp_path):
    demo.write_digits(tmp_path / "photos")
    (command, lines), *_ = printed(read("docs/search.md"))

    output = run_command(command, tmp_path).partition("measuring a first network")[0]  # what is said meanwhile

    assert command.endswith("--dry-run")
    assert [line.split()[0] for line in output.splitlines()] == [line.split()[0] for line in lines]
