"""A search of two processes on another device: one that goes away in the middle costs trials, never the search."""

import signal

import pytest
from running_agent import RunningAgent
from tiny_search import tiny_searching

from mnasnet import modelfile
from mnasnet.errors import LatencyError, SearchError
from mnasnet.latency.token import VARIABLE
from mnasnet.search.monitor import MOST_UNMEASURED
from mnasnet.search.run import extend_search, resume_search, run_search
from mnasnet.testing import write_image_folder

pytestmark = pytest.mark.slow

TOKEN = "0123456789abcdef" * 4
TRIALS = 6
AWAY = 3  # unmeasured trials, until the search is stopped


class Ear:
    """Remembers every trial, and acts once, when the second has ended."""

    def __init__(self, act):
        self.act, self.trials = act, {}

    def count(self, state):
        return sum(trial.state == state for trial in self.trials.values())

    def hear(self, progress):
        if progress.stage == "searching" and progress.record is not None:
            self.trials[progress.record.number] = progress.record
        if len(self.trials) == 2 and self.act is not None:
            act, self.act = self.act, None
            act()


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return write_image_folder(tmp_path_factory.mktemp("photos"), per_class=10)


def searched(photos, parent, agent, act, most_unmeasured=AWAY, **chosen):
    searching = tiny_searching(
        photos,
        parent,
        cost="latency",
        target_latency_ms=100.0,
        meter="remote",
        agent_url=agent.url,
        profile=False,
        workers=2,
        trials=TRIALS,
        proxy_epochs=1,
        **chosen,
    )
    ear = Ear(act)
    return run_search(searching, listeners=[ear], stop=lambda: ear.count("unmeasured") >= most_unmeasured), ear


def test_a_device_that_goes_away_leaves_unmeasured_trials_and_the_search_ends_when_it_is_back(photos, tmp_path):
    agent = RunningAgent(tmp_path / "agent")

    def die():
        agent.stop(signal.SIGKILL)

    stopped, ear = searched(photos, tmp_path, agent, die)

    assert stopped.status == "stopped"  # after more trials than one, so the search went on
    unmeasured = [trial for trial in ear.trials.values() if trial.state == "unmeasured"]
    assert len(unmeasured) >= AWAY and all("is away" in trial.reason for trial in unmeasured)
    assert ear.count("done") >= 2
    back = RunningAgent(tmp_path / "back", "--port", str(agent.port))
    try:
        ended = resume_search(stopped.folder)
    finally:
        back.stop()
    assert ended.status == "done" and modelfile.load(ended.model).latencies


def test_a_device_that_stays_away_costs_neither_the_end_nor_the_winner(photos, tmp_path):
    agent = RunningAgent(tmp_path / "agent")

    ended, ear = searched(photos, tmp_path, agent, lambda: agent.stop(signal.SIGKILL), most_unmeasured=1000)

    assert ended.status == "done"
    assert MOST_UNMEASURED <= ear.count("unmeasured") < 2 * MOST_UNMEASURED
    assert "the device did not measure the last" in (ended.folder / "report.html").read_text(encoding="utf-8")
    (latency,) = modelfile.load(ended.model).latencies
    assert "measured in its trial, not since: " in latency["note"]


def test_a_device_that_comes_back_is_waited_for_where_that_is_asked(photos, tmp_path):
    agents = [RunningAgent(tmp_path / "agent")]

    def restart():
        agents[0].stop(signal.SIGKILL)
        agents.append(RunningAgent(tmp_path / "again", "--port", str(agents[0].port)))

    try:
        ended, ear = searched(photos, tmp_path, agents[0], restart, agent_wait_minutes=2.0)
    finally:
        agents[-1].stop()

    assert ended.status == "done" and ear.count("done") >= TRIALS and not ear.count("unmeasured")


def test_a_search_is_not_extended_without_the_token_of_its_agent(photos, tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, TOKEN)
    agent = RunningAgent(tmp_path / "agent", variables={VARIABLE: TOKEN})
    try:
        ended, _ = searched(photos, tmp_path, agent, lambda: None)
        monkeypatch.delenv(VARIABLE)
        before = (ended.folder / "trials.csv").read_bytes()

        with pytest.raises(LatencyError, match="refused: the token is missing or wrong"):
            extend_search(ended.folder, trials=1)
    finally:
        agent.stop()

    assert ended.status == "done" and (ended.folder / "trials.csv").read_bytes() == before


def test_another_board_at_the_address_of_the_first_measures_nothing_of_its_search(photos, tmp_path):
    agents = [RunningAgent(tmp_path / "agent")]

    def exchange():
        agents[0].stop(signal.SIGKILL)
        agents.append(RunningAgent(tmp_path / "other", "--port", str(agents[0].port), board="another board"))

    try:
        stopped, ear = searched(photos, tmp_path, agents[0], exchange, agent_wait_minutes=2.0)

        unmeasured = [trial for trial in ear.trials.values() if trial.state == "unmeasured"]
        assert len(unmeasured) >= AWAY
        assert all("two devices are never mixed" in trial.reason for trial in unmeasured)
        with pytest.raises(SearchError, match="measures latency on .*, now another board, .* answers; bring the first"):
            resume_search(stopped.folder)
    finally:
        agents[-1].stop()
