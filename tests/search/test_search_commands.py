"""``search``, ``resume``, ``extend``, ``promote``, ``report`` and ``spaces`` as a user types them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from answers import searched
from tiny_search import SPACE

from mnasnet.cli import main
from mnasnet.commands.search import tell
from mnasnet.search.run import SearchedRun
from mnasnet.settings import SearchSettings
from mnasnet.spaces import SPACES


def words(data: Path, parent: Path, *more: str) -> list[str]:
    space = parent / "space.json"
    space.write_text(json.dumps(SPACE))
    return [
        "search",
        str(data),
        f"--space={space}",
        "cost=multiply_adds",
        "--target-cost=1e6",
        "minutes=0",
        "--trials=3",
        "--imgsz=32",
        "--proxy-epochs=1",
        "--proxy-share=1",
        "--finalists=0",
        "--final-epochs=1",
        "--references=false",
        "--train-threads=1",
        f"project={parent / 'runs'}",
        "--name=run",
        *more,
    ]


@pytest.mark.slow
def test_a_search_its_extension_promotion_and_report_end_with_one_line_of_json(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def last_line(*arguments: str) -> dict[str, object]:
        assert main([*arguments, "--json"]) == 0
        return dict(json.loads(capsys.readouterr().out.splitlines()[-1]))

    searched = last_line(*words(data, tmp_path))
    run = str(searched["run"])
    extended = last_line("extend", run, "--trials=1")
    promoted = last_line("promote", run, "--trial=0")
    reported = last_line("report", run)
    resumed = last_line("resume", run)

    assert searched["status"] == "done" and Path(str(searched["model"])).is_file()
    assert searched["counts"] == {"done": 3} and extended["counts"] == {"done": 4}
    assert promoted["winner_trial"] == reported["winner_trial"] == resumed["winner_trial"] == extended["winner_trial"]
    assert promoted["promoted"] == str(Path(run) / "trained" / "trial0_1epochs" / "weights" / "best.safetensors")
    assert Path(str(promoted["promoted"])).is_file() and not extended["promoted"]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent by Unix's kill")
def test_a_signal_stops_within_ten_seconds_and_keeps_everything(data: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mnasnet"]
    settings = {"text": True, "env": {**os.environ, "OMP_NUM_THREADS": "1"}}
    process = subprocess.Popen(
        [*command, *words(data, tmp_path, "--trials=500", "--json")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **settings,
    )
    for line in process.stderr:
        if " done " in line and line.split()[2] == "0":  # the first trial's line of the table
            break
    process.send_signal(signal.SIGINT)
    asked = time.monotonic()
    out, _ = process.communicate(timeout=60)

    assert time.monotonic() - asked < 10
    assert process.returncode == 0
    stopped = json.loads(out.splitlines()[-1])
    assert stopped["status"] == "stopped" and stopped["counts"]["done"] >= 1
    assert Path(stopped["report"]).is_file()


@pytest.mark.parametrize("more", [(), ("--dry-run",)])
def test_a_search_stopped_before_its_first_trial_has_nothing_to_keep(
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    more: tuple[str, ...],
) -> None:
    @contextlib.contextmanager
    def pressed() -> Iterator[threading.Event]:
        stop = threading.Event()
        stop.set()
        yield stop

    monkeypatch.setattr("mnasnet.commands.search.stop_on_signals", pressed)

    assert main(words(data, tmp_path, "--json", *more)) == 130

    told = capsys.readouterr()
    assert told.err.splitlines()[-1] == "stopped before the first trial; nothing is left behind, start again"
    assert json.loads(told.out)["status"] == "stopped"
    assert not list((tmp_path / "runs").glob("*"))


def test_a_dry_run_tells_what_the_search_will_take_and_makes_nothing(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words(data, tmp_path, "--dry-run")) == 0

    out = capsys.readouterr().out
    assert "32 networks" in out and "about 3" in out and "together" in out
    assert not (tmp_path / "runs").exists()


def test_a_dry_run_for_latency_tells_what_the_smallest_and_the_largest_network_take(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    by_latency = words(data, tmp_path, "--cost=latency", "--target-cost=0", "--target-ms=8", "--profile=false")

    assert main([*by_latency, "--dry-run", "--json"]) == 0

    told = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)  # no Infinity, which programs cannot read
    smallest_ms, largest_ms = told["latency_ms"]
    assert 0 < smallest_ms < largest_ms and told["search_limit_s"] is None


def test_a_dry_run_tells_that_a_target_is_out_of_reach(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words(data, tmp_path, "--target-cost=1000", "--dry-run", "--json")) == 0

    told = json.loads(capsys.readouterr().out)["limits"]
    assert told.startswith("even the smallest network is far above the limits: multiply_adds")


@pytest.mark.parametrize(("measured", "said"), [({"latency_ms": True}, "measured"), ({}, "predicted")])
def test_the_winners_latency_is_said_to_be_measured_or_predicted(
    measured: dict[str, bool], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = searched(measured=measured)

    tell(SearchedRun(tmp_path, "done", "", answer), as_json=False)

    assert answer.winner is not None
    winner = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("winner"))
    assert f"latency {answer.winner.costs['latency_ms']:.2f} ms {said}, multiply-adds" in winner


def test_a_worst_class_recall_is_named_where_those_trained_longer_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = searched(accuracy_name="expected worst-class recall")

    tell(SearchedRun(tmp_path, "done", "", answer), as_json=False)

    told = "trial winner: worst-class recall on validation 90.0%, on test 88.0% (50 images), "
    assert told in capsys.readouterr().out


def test_a_search_that_was_killed_is_told_with_the_way_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tell(SearchedRun(tmp_path, "running", "", searched()), as_json=False)

    out = capsys.readouterr().out.splitlines()
    assert out[0] == "not finished: it still runs, or was killed"
    assert out[-1].startswith("resume       python -m mnasnet resume ")


def test_a_promotion_names_its_own_model_and_not_the_winners_as_the_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    promoted, winner = tmp_path / "trained/trial2_9epochs/best.safetensors", tmp_path / "weights/best.safetensors"
    for path in (promoted, winner):
        path.parent.mkdir(parents=True)
        path.write_bytes(b"")

    tell(SearchedRun(tmp_path, "done", "", searched(), promoted), as_json=False)

    out = capsys.readouterr().out.splitlines()
    assert out[0] == f"promoted     {promoted}"
    assert [line for line in out if str(winner) in line] == [f"of winner    {winner}"]


@pytest.mark.parametrize(
    ("word", "complaint"),
    [
        ("--trials=some", "trials must be"),
        ("--reward=best", "reward must be one of hard"),
        ("--target-ms=0", "target_latency_ms must be a number above 0"),
        ("--cost=watts", "cost must be one of latency"),
        ("--proxy-share=2", "proxy_share must be a number from 0 to 1"),
    ],
)
def test_a_wrong_value_is_one_line_with_the_rule(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], word: str, complaint: str
) -> None:
    assert main([*words(data, tmp_path), word]) == 2

    error = capsys.readouterr().err.strip()
    assert complaint in error
    assert "\n" not in error


def test_spaces_lists_every_space_with_its_size(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["spaces", "--json"]) == 0

    listed = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert set(listed) == set(SPACES)
    assert listed["published"]["combinations"] == pytest.approx(9.7e15, rel=0.01)


def test_spaces_shows_the_choices_of_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    space = tmp_path / "mine.json"
    space.write_text(json.dumps(SPACE))

    assert main(["spaces", str(space)]) == 0

    out = capsys.readouterr().out
    assert "64 combinations" in out
    assert "block2.filters" in out and "0.75, 1.0" in out


def test_a_space_of_a_single_network_is_told_in_the_singular(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "one.yaml").write_text("name: one\nblocks: [{channels: 16}]")

    assert main(["spaces", str(tmp_path / "one.yaml")]) == 0

    assert capsys.readouterr().out == "one: 1 combination, 1 different network\n"


def test_spaces_says_what_is_no_space_and_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").mkdir()
    Path("tiny").write_text("nothing")  # a file never hides a built-in space

    assert main(["spaces", "nofile.yaml"]) == 2
    assert "error: no search space and no file is called 'nofile.yaml'; there are paper" in capsys.readouterr().err
    assert main(["spaces", "mine.yaml"]) == 2
    assert "error: the space file mine.yaml cannot be read: Is a directory" in capsys.readouterr().err
    assert main(["spaces", "tiny"]) == 0


@pytest.mark.parametrize("command", ["extend", "promote", "report"])
def test_a_folder_without_a_search_is_one_line(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ["--trials=1"] if command == "extend" else []

    assert main([command, str(tmp_path), *more]) == 2
    assert "is not the folder of a search" in capsys.readouterr().err


def test_a_folder_that_is_not_there_is_said_to_be_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(tmp_path / "serch")]) == 2
    assert f"there is no folder {tmp_path / 'serch'}" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["search", "extend", "promote", "report", "spaces"])
def test_help_reads_well(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_info:
        main([command, "--help"])

    text = capsys.readouterr().out
    assert exit_info.value.code == 0
    assert text.startswith(f"usage: python -m mnasnet {command}")


def test_every_setting_has_its_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["search", "--help"])

    text = capsys.readouterr().out
    for parameter in SearchSettings.parameters():
        if parameter.name != "resume_folder":
            assert f"--{parameter.name.replace('_', '-')}" in text
