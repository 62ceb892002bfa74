"""The search loop: what is spent, what is refused, what is remembered, and how it ends."""

import itertools
import re
import time
from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState

from mnasnet.errors import LatencyError, SearchError, SettingsError
from mnasnet.reward import Reward
from mnasnet.search.costs import digits
from mnasnet.search.counts import CountMeter
from mnasnet.search.problem import FunctionEvaluator, FunctionMeter, Report, SearchProblem
from mnasnet.search.records import pareto_set, records, winner
from mnasnet.search.samplers import SAMPLERS
from mnasnet.search.storage import open_storage
from mnasnet.search.study import Budget, create_study, search
from mnasnet.space import BlockChoices, Candidate, SearchSpace
from mnasnet.spaces import space


class CountingEvaluator:
    """Judges by the number of 5x5 kernels and remembers whom it judged."""

    def __init__(self) -> None:
        self.judged: list[str] = []

    def evaluate(self, candidate: Candidate, report: Report) -> float:
        self.judged.append(candidate.fingerprint)
        return 0.5 + 0.05 * sum(value == 5 for value in candidate.values)


class Steeper(Reward):
    """A reward that a user made."""

    def __call__(self, accuracy: float, cost: float) -> float:
        return accuracy - cost / 1e8


def problem_of(evaluator, searched=None, **arguments) -> SearchProblem:
    meters = {"parameters": CountMeter("parameters", num_classes=10)}
    return SearchProblem(searched or space("tiny"), evaluator, meters=meters, **arguments)


def run(problem: SearchProblem, evaluations: int, algorithm: str = "random", **arguments) -> optuna.Study:
    study = create_study(problem, algorithm=algorithm, seed=0)
    search(study, problem, Budget(evaluations=evaluations, **arguments))
    return study


def space_with_doubles() -> SearchSpace:
    """Four combinations that are two networks: at one layer and stride 2 the skip does nothing."""
    block = BlockChoices(channels=(16,), stride=(2,), kernel=(3, 5), skip=("none", "identity"))
    return SearchSpace((block,), name="doubles")


def all_of(searched: SearchSpace) -> list[Candidate]:
    return [
        searched.candidate(values) for values in itertools.product(*(choice.options for choice in searched.choices))
    ]


class TestSpending:
    def test_the_budget_counts_evaluations_of_accuracy(self):
        evaluator = CountingEvaluator()

        run(problem_of(evaluator), 20)

        assert len(evaluator.judged) == 20

    def test_a_network_is_never_judged_twice(self):
        evaluator = CountingEvaluator()

        study = run(problem_of(evaluator, space_with_doubles()), 5, max_idle=20)

        assert len(evaluator.judged) == len(set(evaluator.judged)) == 2
        copies = [record for record in records(study) if record.duplicate_of is not None]
        assert copies
        originals = {record.number: record for record in records(study)}
        assert all(copy.values == originals[copy.duplicate_of].values for copy in copies)

    def test_a_space_that_is_used_up_ends_the_search(self):
        problem = problem_of(CountingEvaluator(), space_with_doubles())
        study = create_study(problem, algorithm="random", seed=0)

        assert search(study, problem, Budget(evaluations=100, max_idle=25)) == "exhausted"

    @pytest.mark.parametrize("algorithm", SAMPLERS)
    def test_the_search_ends_with_the_last_network_of_a_small_space(self, algorithm):
        block = BlockChoices(channels=(64,), stride=(2,), kernel=(3, 5), skip=("none", "identity"), filters=(0.5, 1.0))
        problem = problem_of(CountingEvaluator(), SearchSpace((block,), widths=(0.5, 0.51)))  # which round alike
        study = create_study(problem, algorithm=algorithm, seed=0)

        assert search(study, problem, Budget(evaluations=100, max_idle=1000)) == "exhausted"
        *_, last = found = records(study)
        assert len({record.fingerprint for record in found}) == 4
        assert last.duplicate_of is None

    @pytest.mark.parametrize(
        ("sampler", "networks"),
        [
            (optuna.samplers.BruteForceSampler(seed=0), 4),
            (optuna.samplers.GridSampler({"block0.channels": [16], "block0.kernel": [3, 5]}, seed=0), 2),
        ],
    )
    def test_a_sampler_of_optunas_that_has_proposed_all_it_knows_ends_the_search(self, sampler, networks):
        problem = problem_of(CountingEvaluator(), SearchSpace((BlockChoices(channels=(16, 24), kernel=(3, 5)),)))
        study = optuna.create_study(direction="maximize", sampler=sampler)

        assert search(study, problem, Budget(evaluations=100)) == "exhausted"
        assert [record.state for record in records(study)] == ["done"] * networks

    def test_networks_above_a_limit_count_as_tried_but_failed_ones_are_tried_again(self):
        smallest = min(CountMeter("parameters", num_classes=10).measure(c) for c in all_of(space_with_doubles()))
        limited = problem_of(CountingEvaluator(), space_with_doubles(), limits={"parameters": smallest})
        tries = []

        def twice(candidate: Candidate) -> float:
            tries.append(candidate.fingerprint)
            if tries.count(candidate.fingerprint) == 1:
                raise OSError("the disk was busy")
            return 0.5

        failing = problem_of(FunctionEvaluator(twice), space_with_doubles())
        endings = []
        for problem in (limited, failing):
            study = create_study(problem, algorithm="random", seed=0)
            endings.append(search(study, problem, Budget(evaluations=100)))
            settled = {record.fingerprint for record in records(study) if record.state in ("done", "infeasible")}
            assert len(settled) == 2

        assert endings == ["exhausted", "exhausted"]
        assert len(tries) == 4

    @pytest.mark.parametrize("algorithm", SAMPLERS)
    def test_no_evaluation_is_spent_over_a_hard_limit(self, algorithm):
        evaluator = CountingEvaluator()
        limit = 1_900_000.0  # between the smallest and the largest network of the space

        study = run(problem_of(evaluator, space("small"), limits={"parameters": limit}), 20, algorithm)

        judged = {record.fingerprint for record in records(study) if record.state == "done"}
        assert judged and set(evaluator.judged) == judged
        assert all(record.costs["parameters"] <= limit for record in records(study) if record.state == "done")

    def test_several_limits_hold_at_once(self):
        meters = {name: CountMeter(name, 64, 10) for name in ("parameters", "multiply_adds", "peak_activation_bytes")}
        limits = {"parameters": 2_000_000.0, "multiply_adds": 8e6}
        problem = SearchProblem(space("small"), CountingEvaluator(), meters=meters, limits=limits, estimates=meters)

        study = run(problem, 20, "guided")

        done = [record for record in records(study) if record.state == "done"]
        assert len(done) == 20
        assert all(record.costs[name] <= limit for record in done for name, limit in limits.items())

    def test_only_the_limits_that_are_exceeded_are_named(self):
        meters = {name: CountMeter(name, 64, 10) for name in ("parameters", "multiply_adds")}
        problem = SearchProblem(
            space("small"), CountingEvaluator(), meters=meters, limits={"parameters": 1.0, "multiply_adds": 1e12}
        )

        study = create_study(problem, algorithm="random", seed=0)
        search(study, problem, Budget(evaluations=1, max_idle=3))

        reasons = [record.reason for record in records(study)]
        assert reasons and all("parameters" in reason and "multiply_adds" not in reason for reason in reasons)

    def test_guided_learns_costs_that_nothing_estimates(self):
        study = run(problem_of(CountingEvaluator(), space("small"), limits={"parameters": 1.7e6}), 60, "guided")

        late = records(study)[-30:]
        assert sum(record.state == "infeasible" for record in late) < 10


class TestStates:
    def test_a_failed_evaluation_is_recorded_with_its_reason_and_the_search_goes_on(self):
        calls = itertools.count()

        def sometimes(candidate: Candidate) -> float:
            if next(calls) == 3:
                raise RuntimeError("out of memory")
            return 0.5

        study = run(problem_of(FunctionEvaluator(sometimes)), 10)

        failed = [record for record in records(study) if record.state == "failed"]
        assert [record.reason for record in failed] == ["RuntimeError: out of memory"]
        assert study.get_trials()[failed[0].number].state == TrialState.FAIL

    def test_an_accuracy_in_percent_is_a_failure_that_says_so(self):
        study = run(problem_of(FunctionEvaluator(lambda candidate: 75.0)), 3)

        assert "accuracy must lie in 0 to 1" in records(study)[0].reason

    @pytest.mark.parametrize("answer", [None, "good", [0.5], {"accuracy": 0.5}, np.array([0.5, 0.6])])
    def test_an_accuracy_that_is_no_number_is_told_as_it_came(self, answer):
        study = run(problem_of(FunctionEvaluator(lambda candidate: answer)), 1)

        told = f"accuracy must lie in 0 to 1, the evaluator returned {answer!r}"
        assert [(record.state, record.reason) for record in records(study)] == [("failed", told)]

    def test_an_accuracy_so_far_that_is_no_number_is_told_as_it_came(self):
        class Halfway:
            def evaluate(self, candidate: Candidate, report: Report) -> float:
                report(1, None)
                return 0.5

        study = run(problem_of(Halfway()), 1)

        told = "SearchError: the accuracy so far must lie in 0 to 1, the evaluator reported None"
        assert records(study)[0].reason == told

    def test_a_reason_of_many_lines_is_one_line_of_the_table(self):
        def crashing(candidate: Candidate) -> float:
            raise RuntimeError("CUDA error\n  at kernel.cu:1\n" + "frame\n" * 1000)

        study = run(problem_of(FunctionEvaluator(crashing)), 1)

        reason = records(study)[0].reason
        assert reason.startswith("RuntimeError: CUDA error at kernel.cu:1 frame frame") and len(reason) < 310

    def test_an_error_that_cannot_say_what_it_is_fails_its_trial_only(self):
        class Unsayable(RuntimeError):
            def __str__(self) -> str:
                raise KeyError("its text is gone")

        def fails(candidate: Candidate) -> float:
            raise Unsayable

        study = run(problem_of(FunctionEvaluator(fails)), 2)

        assert [(record.state, record.reason) for record in records(study)] == [("failed", "Unsayable")] * 2

    def test_a_network_without_a_measurement_is_unmeasured(self):
        def broken(candidate: Candidate) -> float:
            raise LatencyError("the device is away")

        problem = SearchProblem(space("tiny"), CountingEvaluator(), meters={"latency_ms": FunctionMeter(broken)})

        study = run(problem, 3, max_idle=5)

        assert {record.state for record in records(study)} == {"unmeasured"}
        with pytest.raises(SearchError, match="all 5 trials failed; the last reason: the device is away"):
            winner(study, problem)

    def test_an_evaluator_that_never_works_does_not_spend_the_whole_budget(self):
        problem = problem_of(FunctionEvaluator(lambda candidate: 57.3))
        study = create_study(problem, algorithm="random")

        with pytest.raises(SearchError, match=r"the first 10 networks .* accuracy must lie in 0 to 1.*57\.3; fix that"):
            search(study, problem, Budget(evaluations=200))

        assert len(records(study)) == 10

    def test_many_failures_after_a_success_are_the_networks_own(self):
        answers = iter([0.5])
        study = run(problem_of(FunctionEvaluator(lambda candidate: next(answers, 57.3))), 15)

        assert [record.state for record in records(study)].count("failed") == 14

    def test_a_hopeless_network_is_pruned_by_optunas_pruners(self):
        class Stepwise:
            def evaluate(self, candidate: Candidate, report: Report) -> float:
                accuracy = 0.5 + 0.05 * sum(value == 5 for value in candidate.values)
                for step in range(5):
                    report(step, accuracy * step / 5)
                return accuracy

        problem = problem_of(Stepwise())
        study = create_study(problem, algorithm="random", pruner=optuna.pruners.MedianPruner(n_startup_trials=5))
        search(study, problem, Budget(evaluations=30))

        states = {record.state for record in records(study)}
        assert states == {"done", "pruned"}

    def test_a_limit_that_nothing_meets_names_the_nearest_network_in_units_for_people(self):
        problem = problem_of(CountingEvaluator(), limits={"parameters": 1000.0})

        study = run(problem, 5, max_idle=40)

        nearest = min(record.costs["parameters"] for record in records(study))
        told = f"parameters {digits(nearest / 1e6)} M, {nearest / 1000 - 1:.2%} above the limit of 0.001 M; raise the"
        with pytest.raises(SearchError, match=f"no network met the limits; the nearest is trial .* with {told}"):
            winner(study, problem)


class TestAnswers:
    def test_the_winner_has_the_highest_reward(self):
        problem = problem_of(CountingEvaluator(), reward=Reward(1.5e6), reward_cost="parameters")

        study = run(problem, 30)

        values = [record.values[0] for record in records(study) if record.state == "done"]
        assert winner(study, problem).values[0] == max(values)

    @pytest.mark.parametrize(
        "goal", [{"objectives": ("parameters",)}, {"reward": Reward(1e9), "reward_cost": "parameters"}]
    )
    def test_the_winner_of_equal_ones_is_the_cheapest_which_lies_on_the_front(self, goal):
        problem = problem_of(FunctionEvaluator(lambda candidate: 0.5), **goal)
        study = run(problem, 20)

        cheapest = min(records(study), key=lambda record: record.costs["parameters"])
        assert winner(study, problem).costs == cheapest.costs
        assert winner(study, problem) in pareto_set(records(study), ("parameters",))

    def test_the_study_names_its_values(self):
        goals = {"accuracy": {}, "reward": {"reward": Reward(1e6), "reward_cost": "parameters"}}

        for name, goal in goals.items():
            assert create_study(problem_of(CountingEvaluator(), **goal)).metric_names == [name]
        trade_offs = create_study(problem_of(CountingEvaluator(), objectives=("parameters",)))
        assert trade_offs.metric_names == ["accuracy", "parameters"]

    def test_a_study_whose_making_was_cut_off_is_given_its_names_by_the_next(self):
        class CutOff(optuna.storages.InMemoryStorage):
            room = 1  # values of the study that are written before the process ends

            def spend(self) -> None:
                if self.room == 0:
                    raise KeyboardInterrupt
                self.room -= 1

            def set_study_user_attr(self, *arguments) -> None:
                self.spend()
                super().set_study_user_attr(*arguments)

            def set_study_system_attr(self, *arguments) -> None:
                self.spend()
                super().set_study_system_attr(*arguments)

        storage, problem = CutOff(), problem_of(CountingEvaluator())
        with pytest.raises(KeyboardInterrupt):
            create_study(problem, storage=storage)
        storage.room = 2

        assert create_study(problem, storage=storage).metric_names == ["accuracy"]

    def test_the_pareto_set_holds_what_no_other_network_beats(self):
        problem = problem_of(CountingEvaluator(), objectives=("parameters",))
        study = run(problem, 40, "guided")
        done = [record for record in records(study) if record.state == "done"]

        front = pareto_set(done, ["parameters"])

        for record in done:
            beaten = any(
                other.accuracy >= record.accuracy
                and other.costs["parameters"] <= record.costs["parameters"]
                and (other.accuracy, -other.costs["parameters"]) != (record.accuracy, -record.costs["parameters"])
                for other in done
            )
            if not beaten:
                assert (record.accuracy, record.costs["parameters"]) in {
                    (kept.accuracy, kept.costs["parameters"]) for kept in front
                }
            else:
                assert record not in front


def test_a_network_that_fails_each_time_is_given_up_and_the_space_ends() -> None:
    judged: Counter[str] = Counter()
    searched = SearchSpace((BlockChoices(channels=(16, 24), kernel=(3, 5)),), name="four")
    broken = all_of(searched)[0].fingerprint

    def accuracy(candidate: Candidate) -> float:
        judged[candidate.fingerprint] += 1
        if candidate.fingerprint == broken:
            raise RuntimeError("too large for the memory")
        return 0.5

    problem = SearchProblem(searched, FunctionEvaluator(accuracy))
    study = create_study(problem, algorithm="random", seed=0)

    assert search(study, problem, Budget(evaluations=30)) == "exhausted"
    assert judged.pop(broken) == 2  # once, and one retry
    assert list(judged.values()) == [1, 1, 1]


def later(journal: str, *, hours: int) -> str:
    """The journal as a clock that was so many hours ahead would have dated it."""

    def moved(match: re.Match[str]) -> str:
        return (datetime.fromisoformat(match[0]) + timedelta(hours=hours)).isoformat(timespec="microseconds")

    return re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+", moved, journal)


class TestResuming:
    @pytest.mark.parametrize("algorithm", SAMPLERS)
    def test_with_one_worker_the_resumed_search_equals_the_uninterrupted_one(self, algorithm, tmp_path):
        problem = problem_of(CountingEvaluator(), space("small"), reward=Reward(1.5e6), reward_cost="parameters")
        whole = create_study(problem, algorithm=algorithm, seed=3)
        search(whole, problem, Budget(evaluations=40))

        for evaluations in (5, 18, 31, 40):
            study = create_study(problem, algorithm=algorithm, seed=3, storage=open_storage(tmp_path / "journal"))
            search(study, problem, Budget(evaluations=evaluations))
            if evaluations < 40:
                # the process dies with one network proposed and only part of its choices stored
                trial = study.ask()
                for choice in problem.space.choices[:5]:
                    trial.suggest_categorical(choice.name, choice.options)

        assert [(r.params, r.values) for r in records(study)] == [(r.params, r.values) for r in records(whole)]

    @pytest.mark.parametrize("algorithm", ["guided", "evolution", "ppo"])  # which learn in the order of time
    def test_a_clock_that_was_set_back_meanwhile_changes_nothing(self, algorithm, tmp_path):
        problem, told = problem_of(CountingEvaluator(), space("small")), []
        for hours in (0, 1):
            path = tmp_path / f"{hours}.journal"
            search(create_study(problem, algorithm=algorithm, storage=path), problem, Budget(evaluations=20))
            path.write_text(later(path.read_text(), hours=hours))
            study = create_study(problem, algorithm=algorithm, storage=path)
            search(study, problem, Budget(evaluations=60))
            told.append([(record.params, record.values) for record in records(study)])

        assert told[0] == told[1]

    def test_another_problem_in_the_same_study_is_refused(self, tmp_path):
        first = problem_of(CountingEvaluator(), reward=Reward(1.5e6), reward_cost="parameters")
        other = problem_of(CountingEvaluator(), reward=Reward(2.5e6), reward_cost="parameters")
        create_study(first, storage=open_storage(tmp_path / "journal"))

        with pytest.raises(SearchError, match="made with another reward"):
            create_study(other, storage=open_storage(tmp_path / "journal"))

    @pytest.mark.parametrize(
        ("reward", "input_size"), [(Steeper(6e6), 224), (Reward(6e6), 64)], ids=["another reward", "another count"]
    )
    def test_values_of_two_scales_are_not_mixed_in_one_study(self, reward, input_size):
        def problem(reward: Reward, input_size: int) -> SearchProblem:
            meters = {"multiply_adds": CountMeter("multiply_adds", input_size)}
            return SearchProblem(space("tiny"), CountingEvaluator(), meters, reward, "multiply_adds")

        study = create_study(problem(Reward(6e6), 224), algorithm="random")

        with pytest.raises(SearchError, match="another"):
            search(study, problem(reward, input_size), Budget(evaluations=1))

    def test_a_study_is_not_searched_for_another_problem_than_it_was_made_for(self):
        first = problem_of(CountingEvaluator(), limits={"parameters": 2.5e6})
        study = run(first, 2)

        with pytest.raises(SearchError, match="was made with another limits; go on with the same settings"):
            search(study, replace(first, limits={"parameters": 1.5e6}), Budget(evaluations=4))
        assert search(study, replace(first, evaluator=CountingEvaluator()), Budget(evaluations=3)) == "budget"

    @pytest.mark.parametrize("directions", [["minimize"], ["maximize", "minimize"]])
    def test_a_study_of_other_directions_than_the_problem_s_is_refused(self, directions):
        study = optuna.create_study(directions=directions)

        told = f"study 'no-name.*' is to {', '.join(directions)} and the problem to maximize; make it with create_study"
        with pytest.raises(SearchError, match=told):
            search(study, problem_of(CountingEvaluator()), Budget(evaluations=1))
        assert not study.trials


class TestTime:
    def test_minutes_are_kept_by_the_clock_given(self):
        problem = problem_of(CountingEvaluator())
        study = create_study(problem, algorithm="random")
        ticks = itertools.count(0, 10)  # every look at the clock is ten seconds later

        assert search(study, problem, Budget(minutes=5), clock=lambda: float(next(ticks))) == "time"

    def test_the_seconds_of_judging_are_told_apart_from_those_of_measuring(self):
        now = [0.0]

        def after(seconds: float, answer: float) -> float:
            now[0] += seconds
            return answer

        problem = SearchProblem(
            space("tiny"),
            FunctionEvaluator(lambda candidate: after(3.0, 0.5)),
            meters={"latency_ms": FunctionMeter(lambda candidate: after(8.0, 5.0))},
        )
        study = create_study(problem, algorithm="random")
        search(study, problem, Budget(evaluations=1), clock=lambda: now[0])

        (record,) = records(study)
        assert (record.seconds, record.judged_s) == (11.0, 3.0)

    def test_a_search_stops_when_asked(self):
        problem = problem_of(CountingEvaluator())
        study = create_study(problem, algorithm="random")

        assert search(study, problem, Budget(evaluations=100), should_stop=lambda: len(study.trials) >= 3) == "stopped"
        assert len(study.trials) == 3

    def test_a_budget_is_needed(self):
        with pytest.raises(SearchError, match="needs a budget"):
            Budget()

    @pytest.mark.slow
    def test_two_thousand_trials_cost_less_than_50_ms_each(self):
        problem = problem_of(CountingEvaluator(), space("around_a1"), reward=Reward(3e6), reward_cost="parameters")
        study = create_study(problem, algorithm="evolution")
        started = time.process_time()

        search(study, problem, Budget(evaluations=2000))

        assert (time.process_time() - started) / 2000 < 0.05


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"reward": Reward(8.0), "reward_cost": "watts"}, "must be one of the meters parameters, got 'watts'"),
        ({"limits": {"watts": 5.0}}, "limit 'watts' has no meter"),
        ({"limits": {"parameters": -1.0}}, "limit on parameters must be a number above 0"),
        ({"reward": Reward(8.0), "reward_cost": "parameters", "objectives": ("parameters",)}, "got both"),
    ],
)
def test_a_problem_that_contradicts_itself_is_refused(arguments, message):
    with pytest.raises(SettingsError, match=message):
        problem_of(CountingEvaluator(), **arguments)


class TestWhatCannotBe:
    """A meter, an evaluator or a trial of somebody else that is wrong costs one trial, never the search."""

    @pytest.mark.parametrize("cost", [0.0, -1.0, float("nan"), float("inf"), None, "many"])
    def test_a_cost_that_is_no_number_above_zero_is_unmeasured(self, cost):
        evaluator = CountingEvaluator()
        meters = {"work": FunctionMeter(lambda candidate: cost)}
        problem = SearchProblem(space("tiny"), evaluator, meters=meters, limits={"work": 5.0})

        study = run(problem, 3, max_idle=5)

        assert {record.state for record in records(study)} == {"unmeasured"}
        instead = "; add 1 to a count that may be 0" if cost == 0.0 else ""
        assert records(study)[0].reason == f"work must be a number above 0, its meter returned {cost!r}{instead}"
        assert not evaluator.judged  # no training is spent on a network of unknown cost

    def test_a_meter_that_fails_leaves_its_reason(self):
        def away(candidate: Candidate) -> float:
            raise ConnectionError("the board is away")

        problem = SearchProblem(space("tiny"), CountingEvaluator(), meters={"work": FunctionMeter(away)})

        study = run(problem, 3, max_idle=5)

        assert records(study)[0].reason == "the meter of work failed: ConnectionError: the board is away"

    @pytest.mark.parametrize("algorithm", ["guided", "evolution", "random"])
    @pytest.mark.parametrize("answer", ["away", float("nan"), 0.0, -1.0])
    def test_an_estimate_that_cannot_be_told_stays_unknown(self, algorithm, answer):
        def estimated(candidate: Candidate) -> float:
            if candidate.values[0] != 3:
                return 5.0
            if answer == "away":
                raise LatencyError("the table has no such piece")
            return answer

        problem = SearchProblem(
            space("tiny"),
            CountingEvaluator(),
            meters={"ms": FunctionMeter(lambda candidate: 5.0)},
            limits={"ms": 9.0},
            estimates={"ms": FunctionMeter(estimated)},
            reward=Reward(6.0),
            reward_cost="ms",
        )

        study = run(problem, 40, algorithm)

        assert {record.state for record in records(study)} == {"done"}

    def test_an_error_of_a_sampler_is_not_taken_for_an_option_that_the_space_lacks(self):
        class Broken(optuna.samplers.RandomSampler):
            def sample_independent(self, *arguments):
                raise ValueError("operands could not be broadcast together")

        problem = problem_of(CountingEvaluator())
        study = create_study(problem, algorithm="random", seed=0)
        study.sampler = Broken()

        with pytest.raises(ValueError, match="broadcast"):
            search(study, problem, Budget(evaluations=1))

    @pytest.mark.parametrize("so_far", [75.0, -0.1, float("nan")])
    def test_an_accuracy_so_far_that_cannot_be_fails_the_trial(self, so_far):
        class Percent:
            def evaluate(self, candidate: Candidate, report: Report) -> float:
                report(1, so_far)
                return 0.75

        study = run(problem_of(Percent()), 2)

        assert [record.state for record in records(study)] == ["failed"] * 2
        assert "the accuracy so far must lie in 0 to 1" in records(study)[0].reason

    def test_an_enqueued_option_that_the_space_lacks_fails_that_trial_only(self):
        problem = problem_of(CountingEvaluator())
        study = create_study(problem, algorithm="random", seed=0)
        study.enqueue_trial({problem.space.choices[0].name: 7})

        search(study, problem, Budget(evaluations=3))

        first, *others = records(study)
        assert first.state == "failed" and "not a network of the space" in first.reason
        assert [record.state for record in others] == ["done"] * 3

    def test_enqueued_options_that_the_space_lacks_spend_none_of_the_budget(self):
        problem = problem_of(CountingEvaluator())
        study = create_study(problem)
        for _ in range(12):
            study.enqueue_trial({"block1.kernel": 7})

        assert search(study, problem, Budget(evaluations=3)) == "budget"

        assert [record.state for record in records(study)] == ["failed"] * 12 + ["done"] * 3

    def test_a_trial_told_by_somebody_else_is_not_shown_as_running(self):
        problem = problem_of(CountingEvaluator())
        study = run(problem, 2)
        distributions = study.trials[0].distributions
        params = {name: found.choices[0] for name, found in distributions.items()}
        study.add_trial(optuna.trial.create_trial(params=params, distributions=distributions, value=0.99))

        assert records(study)[-1].state == "unmeasured"
        assert winner(study, problem).number < 2

    def test_numbers_of_numpy_are_taken_where_python_s_are(self, tmp_path):
        reward = {"reward": Reward(np.float32(1e6)), "reward_cost": "parameters"}
        problem = problem_of(CountingEvaluator(), limits={"parameters": np.float32(1e9)}, **reward)
        study = create_study(problem, seed=np.int64(1), storage=tmp_path / "study.journal")

        ending = search(study, problem, Budget(evaluations=np.int64(2), minutes=np.float32(5)))

        assert ending == "budget" and len(records(study)) >= 2

    @pytest.mark.parametrize("wrong", [{"evaluations": True}, {"minutes": np.True_}])
    def test_a_budget_is_no_yes_or_no(self, wrong):
        with pytest.raises(SearchError, match=f"{next(iter(wrong))} must be a number from"):
            Budget(**wrong)

    @pytest.mark.parametrize("wrong", [{"evaluations": 0}, {"evaluations": "3"}, {"minutes": -1}, {"max_idle": 0}])
    def test_a_budget_that_cannot_be_is_refused(self, wrong):
        with pytest.raises(SearchError, match=f"{next(iter(wrong))} must be a number from"):
            Budget(**{"evaluations": 1, **wrong})

    @pytest.mark.parametrize("algorithm", SAMPLERS)
    @pytest.mark.parametrize("seed", [-1, 1.5, None, "1", True])
    def test_a_seed_that_cannot_be_is_refused_before_anything_is_stored(self, algorithm, seed):
        with pytest.raises(SettingsError, match=f"seed must be a whole number from 0 to 4294967295, got {seed!r}"):
            create_study(problem_of(CountingEvaluator()), algorithm=algorithm, seed=seed)

    @pytest.mark.parametrize(
        ("wrong", "rule"),
        [
            ({"evaluator": len}, r"must have a method evaluate\(candidate, report\), got .*; wrap a function in Func"),
            (
                {"meters": {"size": len}},
                r"the meter of size must have a method measure\(candidate\), got .* in Function",
            ),
            ({"reward": min}, "the reward must be a Reward or a subclass of it, got"),
        ],
    )
    def test_a_function_where_a_part_of_the_problem_belongs_is_refused(self, wrong, rule):
        with pytest.raises(SettingsError, match=rule):
            SearchProblem(space("tiny"), **{"evaluator": CountingEvaluator(), **wrong})

    def test_one_objective_may_be_text(self):
        assert problem_of(CountingEvaluator(), objectives="parameters").objectives == ("parameters",)


def test_a_path_keeps_the_study_in_a_journal_file(tmp_path):
    problem = problem_of(CountingEvaluator())
    study = create_study(problem, algorithm="random", storage=tmp_path / "study.journal")
    search(study, problem, Budget(evaluations=3))

    again = create_study(problem, algorithm="random", storage=str(tmp_path / "study.journal"))

    assert len(records(again)) == 3


@pytest.mark.parametrize("seed", range(3))
def test_guided_meets_a_limit_that_only_an_option_never_measured_can_meet(seed):
    meters = {"work": CountMeter("multiply_adds", input_size=64)}
    costs = sorted(meters["work"].measure(space("small").candidate_at(point)) for point in random_points(200))
    limits = {"work": costs[20]}  # a tenth of the networks, all of them of the smallest width
    problem = SearchProblem(space("small"), CountingEvaluator(), meters=meters, limits=limits)
    study = create_study(problem, algorithm="guided", seed=seed)

    search(study, problem, Budget(evaluations=10, max_idle=60))

    assert sum(record.state == "done" for record in records(study)) == 10


def random_points(number: int) -> list[tuple[int, ...]]:
    rng = np.random.default_rng(0)
    counts = [len(choice.options) for choice in space("small").choices]
    return [tuple(point) for point in rng.integers(0, counts, size=(number, len(counts))).tolist()]
