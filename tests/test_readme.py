"""The README is true: each of its Python blocks and commands runs as it stands."""

import pytest
from documents import ROOT, blocks, commands, links, make_workplace, read, run_command, run_python

README = read("README.md")


def told(texts):
    """The texts as parameters; those that search are slow."""
    return [
        pytest.param(text, marks=pytest.mark.slow if "search" in text else (), id=text.strip().splitlines()[0][:60])
        for text in texts
    ]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    return make_workplace(tmp_path_factory.mktemp("readme"))


@pytest.mark.parametrize("code", told(blocks(README, "python")))
def test_python_block_runs(code, workplace):
    run_python(code, workplace)


@pytest.mark.parametrize("command", told(commands(README)))
def test_command_runs(command, workplace):
    run_command(command, workplace)


def test_every_link_to_a_file_leads_somewhere():
    files = [path for path, _ in links(README) if path]

    assert files
    assert [path for path in files if not (ROOT / path).exists()] == []
