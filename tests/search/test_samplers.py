"""Every search algorithm passes the contract tests that Optuna ships, and repeats by seed."""

from collections.abc import Callable
from statistics import mean
from typing import Any

import optuna
import pytest
from optuna.testing import pytest_samplers

from mnasnet.errors import SettingsError, SpecError
from mnasnet.reward import Reward
from mnasnet.search.best_and_latest import best_and_latest
from mnasnet.search.controller import ControllerSampler
from mnasnet.search.evolution import EvolutionSampler
from mnasnet.search.extrapolation import Extrapolation
from mnasnet.search.guided import GuidedSampler
from mnasnet.search.policy import ControllerSettings
from mnasnet.search.problem import FunctionEvaluator, FunctionMeter, Report, SearchProblem
from mnasnet.search.records import records
from mnasnet.search.samplers import PARETO, SAMPLERS, SeededPerTrial, make_sampler
from mnasnet.search.study import Budget, create_study, search
from mnasnet.space import Candidate
from mnasnet.spaces import space

MakeSampler = Callable[[], optuna.samplers.BaseSampler]


class SingleObjectiveContract(
    pytest_samplers.BasicSamplerTestCase,
    pytest_samplers.RelativeSamplerTestCase,
    pytest_samplers.SingleOnlySamplerTestCase,
):
    """Optuna's contract for a sampler of a single objective."""


class TestGuidedContract(SingleObjectiveContract):
    @pytest.fixture
    def sampler(self) -> MakeSampler:
        return lambda: GuidedSampler(seed=0)


class TestEvolutionContract(SingleObjectiveContract):
    @pytest.fixture
    def sampler(self) -> MakeSampler:
        return lambda: EvolutionSampler(seed=0, population=4, sample=2, initial=2)


class TestPpoContract(SingleObjectiveContract):
    @pytest.fixture
    def sampler(self) -> MakeSampler:
        return lambda: ControllerSampler(seed=0, settings=ControllerSettings(batch=3))


class TestTpeContract(pytest_samplers.BasicSamplerTestCase, pytest_samplers.MultiObjectiveSamplerTestCase):
    @pytest.fixture
    def sampler(self) -> MakeSampler:
        return lambda: SeededPerTrial(
            lambda seed: optuna.samplers.TPESampler(seed=seed, multivariate=True),
            sees=lambda study: best_and_latest(study, best=2, latest=8),
        )


class TestNsga2Contract(pytest_samplers.BasicSamplerTestCase, pytest_samplers.MultiObjectiveSamplerTestCase):
    @pytest.fixture
    def sampler(self) -> MakeSampler:
        return lambda: SeededPerTrial(lambda seed: optuna.samplers.NSGAIISampler(population_size=10, seed=seed))


class TestRandomContract(pytest_samplers.BasicSamplerTestCase, pytest_samplers.MultiObjectiveSamplerTestCase):
    @pytest.fixture
    def sampler(self) -> MakeSampler:
        return lambda: SeededPerTrial(lambda seed: optuna.samplers.RandomSampler(seed=seed))


def more_kernels_are_better(candidate: Candidate) -> float:
    """An accuracy that rises with every 5x5 kernel and every width, as a stand-in for training."""
    return 0.5 + 0.02 * sum(value == 5 for value in candidate.values) + 0.1 * float(candidate.values[0])


def cost_of(candidate: Candidate) -> float:
    return 1.0 + sum(block.channels * block.kernel * block.expansion for block in candidate.architecture.blocks) / 1e3


def problem_of(*, pareto: bool = False) -> SearchProblem:
    meter = FunctionMeter(cost_of)
    return SearchProblem(
        space("small"),
        FunctionEvaluator(more_kernels_are_better),
        meters={"work": meter},
        reward=None if pareto else Reward(20.0),
        reward_cost="" if pareto else "work",
        objectives=("work",) if pareto else (),
        estimates={"work": meter},
    )


@pytest.mark.parametrize("algorithm", SAMPLERS)
def test_the_same_seed_searches_the_same_networks(algorithm):
    def params(seed: int) -> list[object]:
        study = create_study(problem_of(), algorithm=algorithm, seed=seed)
        search(study, problem_of(), Budget(evaluations=25))
        return [record.params for record in records(study)]

    assert params(1) == params(1)
    assert params(1) != params(2)


@pytest.mark.parametrize("algorithm", ["guided", "evolution", "tpe"])  # ppo and nsga2 need hundreds of networks
def test_algorithms_that_learn_from_few_networks_propose_better_ones_than_at_first(algorithm):
    study = create_study(problem_of(), algorithm=algorithm, seed=0)

    search(study, problem_of(), Budget(evaluations=60))

    values = [record.values[0] for record in records(study) if record.state == "done"]
    assert mean(values[-15:]) > mean(values[:15]) + 0.03  # random ones differ by 0.01


@pytest.mark.parametrize("algorithm", PARETO)
def test_algorithms_for_trade_offs_take_several_objectives(algorithm):
    study = create_study(problem_of(pareto=True), algorithm=algorithm, seed=0)

    search(study, problem_of(pareto=True), Budget(evaluations=30))

    assert len(study.best_trials) > 1


def test_an_algorithm_for_one_reward_refuses_a_pareto_search():
    with pytest.raises(SettingsError, match="ppo maximises one reward"):
        make_sampler("ppo", problem_of(pareto=True))


def test_an_unknown_algorithm_lists_the_known_ones():
    with pytest.raises(SettingsError, match="guided, ppo, evolution, tpe, nsga2, random"):
        make_sampler("annealing", problem_of())


def networks_found(step: float) -> int:
    """How many networks a controller that settles fast finds of the 100 asked for."""
    problem = SearchProblem(space("small"), FunctionEvaluator(lambda candidate: 0.5 ** len(set(candidate.values))))
    study = create_study(problem, algorithm="ppo", seed=0)
    study.sampler = ControllerSampler(
        seed=0, settings=ControllerSettings(learning_rate=1e-2, entropy=0.01, entropy_step=step)
    )
    search(study, problem, Budget(evaluations=100, max_idle=500))
    return len({tuple(record.params.values()) for record in records(study) if record.state == "done"})


@pytest.mark.slow
def test_a_controller_that_has_settled_goes_on_to_find_networks():
    assert networks_found(step=1.0) < 100
    assert networks_found(step=ControllerSettings().entropy_step) == 100


def test_guided_never_proposes_a_network_twice():
    study = create_study(problem_of(), algorithm="guided", seed=0)

    search(study, problem_of(), Budget(evaluations=80))

    params = [tuple(record.params.values()) for record in records(study)]
    assert len(set(params)) == len(params)


@pytest.mark.parametrize("algorithm", ["guided", "evolution"])
def test_combinations_that_mean_the_same_network_are_not_proposed_again(algorithm):
    meter = FunctionMeter(cost_of)
    problem = SearchProblem(
        space("paper"),  # ten combinations a network on average
        FunctionEvaluator(lambda candidate: 0.5 + 0.01 * sum(value == 5 for value in candidate.values)),
        meters={"work": meter},
        reward=Reward(20.0),
        reward_cost="work",
        estimates={"work": meter},
    )
    study = create_study(problem, algorithm=algorithm, seed=0)

    search(study, problem, Budget(evaluations=60))

    assert [record.duplicate_of for record in records(study)] == [None] * 60


@pytest.mark.parametrize("algorithm", ["guided", "evolution"])
def test_a_network_that_failed_is_not_proposed_again(algorithm):
    def fails_with_large_kernels(candidate: Candidate) -> float:
        if sum(value == 5 for value in candidate.values) > 3:
            raise RuntimeError("out of memory")
        return more_kernels_are_better(candidate)

    problem = SearchProblem(space("small"), FunctionEvaluator(fails_with_large_kernels))
    study = create_study(problem, algorithm=algorithm, seed=0)

    search(study, problem, Budget(evaluations=80))

    failed = [record.fingerprint for record in records(study) if record.state == "failed"]
    assert failed
    assert len(set(failed)) == len(failed)


class EndsAllButTheFirst(optuna.pruners.BasePruner):
    def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
        return trial.number >= 6


class TellsItsSteps:
    """Reports a first step, a tenth below where the training arrives; after the first six it is ended there."""

    def evaluate(self, candidate: Candidate, report: Report) -> float:
        accuracy = more_kernels_are_better(candidate)
        report(1, accuracy - 0.1)
        return accuracy


def test_guided_learns_from_trainings_that_were_ended_early():
    problem = SearchProblem(space("small"), TellsItsSteps())
    study = create_study(problem, algorithm="guided", seed=0, pruner=EndsAllButTheFirst())

    search(study, problem, Budget(evaluations=60))

    accuracies = [more_kernels_are_better(problem.space.candidate(record.params)) for record in records(study)]
    assert [record.state for record in records(study)[6:]] == ["pruned"] * 54
    assert min(accuracies[40:]) > max(accuracies[:16])


def test_guided_minimises_too_without_a_problem():
    study = optuna.create_study(sampler=GuidedSampler(seed=0))

    study.optimize(
        lambda trial: sum(trial.suggest_categorical(f"x{i}", [0, 1, 2]) * (i + 1) for i in range(6)), n_trials=60
    )

    assert study.best_value <= 1


@pytest.mark.parametrize("make", [GuidedSampler, EvolutionSampler, ControllerSampler])
@pytest.mark.parametrize("options", [[True, 1, 2], [0, 0.0], ["a", "a"]])
def test_options_that_optuna_takes_for_the_same_are_refused_in_the_first_trial(make, options):
    study = optuna.create_study(sampler=make(seed=0))

    with pytest.raises(SpecError, match=r"the options of x must differ, got \[.*\], of which Optuna takes .* for the"):
        study.optimize(lambda trial: float(trial.suggest_categorical("x", options) == 1), n_trials=1)


@pytest.mark.parametrize("make", [GuidedSampler, EvolutionSampler, ControllerSampler])
@pytest.mark.parametrize("seed", [None, -1, 0.5])
def test_a_sampler_without_a_usable_seed_is_refused_when_it_is_made(make, seed):
    with pytest.raises(SettingsError, match=f"the sampler's seed must be a whole number >= 0, got {seed}"):
        make(seed=seed)


@pytest.mark.parametrize(
    "sampler",
    [
        GuidedSampler(seed=0),
        EvolutionSampler(seed=0),
        ControllerSampler(seed=0, settings=ControllerSettings(learning_rate=1e-2, entropy=0.05)),
    ],
    ids=["guided", "evolution", "ppo"],
)
def test_constraints_of_any_study_steer_its_sampler(sampler):
    study = optuna.create_study(direction="maximize", sampler=sampler)

    def larger_is_better_up_to_a_bound(trial: optuna.Trial) -> float:
        total = sum(trial.suggest_categorical(f"x{place}", range(4)) for place in range(6))
        trial.set_constraint("total", total - 5.0)  # one random draw in 10 keeps it
        return float(total)

    study.optimize(larger_is_better_up_to_a_bound, n_trials=120)

    kept = [not any(value > 0.0 for value in trial.constraints.values()) for trial in study.trials]
    assert sum(kept[-40:]) > 8  # of random ones about 4 would, of those that look at the value alone none


@pytest.mark.parametrize("sampler", [GuidedSampler(seed=0), EvolutionSampler(seed=0), ControllerSampler(seed=0)])
def test_a_constraint_without_end_does_no_harm(sampler):
    study = optuna.create_study(direction="maximize", sampler=sampler)

    def never_allowed_with_b(trial: optuna.Trial) -> float:
        first = trial.suggest_categorical("first", "ab")
        trial.set_constraint("no b", float("inf") if first == "b" else -1.0)
        return float(trial.suggest_categorical("second", range(9)))

    study.optimize(never_allowed_with_b, n_trials=40)

    assert study.best_trial.params["first"] == "a"


@pytest.mark.parametrize("wanted", [{"limits": {"work": 12.0}}, {"reward": Reward(12.0), "reward_cost": "work"}])
def test_evolution_keeps_to_limits_and_hard_targets_it_can_foresee(wanted):
    meters = {"work": FunctionMeter(cost_of)}
    problem = SearchProblem(
        space("small"), FunctionEvaluator(more_kernels_are_better), meters=meters, estimates=meters, **wanted
    )
    study = create_study(problem, algorithm="evolution", seed=0)

    search(study, problem, Budget(evaluations=30))

    assert {record.state for record in records(study)} == {"done"}
    assert max(record.costs["work"] for record in records(study)) <= 12.0


@pytest.mark.parametrize(
    "reward",
    [Reward(15.0, "soft"), Reward(15.0, "hard"), Reward(15.0, "absolute"), Reward(15.0, "product", -0.1, -0.5)],
)
def test_a_training_ended_early_is_believed_to_reach_what_it_would_have_reached(reward):
    problem = SearchProblem(
        space("small"), TellsItsSteps(), meters={"work": FunctionMeter(cost_of)}, reward=reward, reward_cost="work"
    )
    costs = {"work": 30.0}

    so_far = problem.values(0.41, costs)[0]

    assert problem.accuracy_of(so_far, costs) == pytest.approx(0.41)
    assert SearchProblem(space("small"), TellsItsSteps()).accuracy_of(0.41, {}) == pytest.approx(0.41)


def test_a_training_ended_early_gains_in_thought_what_others_gained_after_that_step():
    trained = Extrapolation()
    for gain in (0.1, 0.2, 0.3, 0.9):
        trained.learn({1: 0.1, 2: 0.4}, 0.4 + gain)

    assert trained.of({1: 0.2, 2: 0.5}) == trained.at_most_of({1: 0.2, 2: 0.5}) == pytest.approx(0.75)
    assert trained.of({3: 0.5}) is None  # nobody went on from there
    assert (trained.at_most_of({3: 0.3}), trained.at_most_of({3: 0.7})) == (0.3, 0.5)  # 0.5 is the worst at its end


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_the_controller_hears_of_trainings_that_were_ended_early(direction: str) -> None:
    """Only networks of the highest value finish: they alone say nothing of what is bad."""
    sign = 1.0 if direction == "maximize" else -1.0

    def objective(trial: optuna.Trial) -> float:
        value = sum(trial.suggest_categorical(f"b{place}", [0, 1]) for place in range(4))
        trial.report(sign * value / 2, 1)
        if value < 3:
            raise optuna.TrialPruned
        return sign * float(min(value, 3))

    settings = ControllerSettings(learning_rate=1e-2, entropy=0.01)
    study = optuna.create_study(direction=direction, sampler=ControllerSampler(seed=0, settings=settings))
    study.optimize(objective, n_trials=200)

    late = [sum(trial.params.values()) for trial in study.trials[-50:]]
    assert sum(late) / len(late) > 2.8  # 2 at random


def test_an_objective_that_is_the_same_everywhere_hides_no_accuracy() -> None:
    def mean_of_late(objectives: tuple[str, ...]) -> float:
        meters = {"work": FunctionMeter(cost_of), "memory": FunctionMeter(lambda candidate: 262144.0)}
        problem = SearchProblem(
            space("small"),
            FunctionEvaluator(more_kernels_are_better),
            meters=meters,
            objectives=objectives,
            estimates=meters,
        )
        study = create_study(problem, algorithm="guided", seed=0)
        search(study, problem, Budget(evaluations=60))
        late = [record.accuracy or 0.0 for record in records(study)[16:]]
        return sum(late) / len(late)

    assert mean_of_late(("work", "memory")) == pytest.approx(mean_of_late(("work",)), abs=0.01)


@pytest.mark.parametrize("sampler", [GuidedSampler, EvolutionSampler])
def test_one_sampler_tells_two_studies_apart(sampler: Any) -> None:
    shared = sampler(seed=0)
    studies = [optuna.create_study(direction="maximize", sampler=shared) for _ in range(2)]

    for _ in range(60):
        for best, study in zip((0, 2), studies, strict=True):
            trial = study.ask()
            values = [trial.suggest_categorical(f"b{place}", [0, 1, 2]) for place in range(6)]
            study.tell(trial, sum(value == best for value in values))

    for study in studies:
        assert sum(trial.value for trial in study.trials[-15:]) / 15 > 3  # 2 at random


@pytest.mark.parametrize("sampler", [GuidedSampler, EvolutionSampler])
@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_in_a_study_of_somebody_else_pruned_trials_teach_too(sampler: Any, direction: str) -> None:
    """Half of the trials are pruned at their first step, as by Hyperband."""
    sign = 1.0 if direction == "maximize" else -1.0

    def objective(trial: optuna.Trial) -> float:
        value = sum(trial.suggest_categorical(f"b{place}", [0, 1, 2, 3]) for place in range(10))
        trial.report(sign * value / 2, 1)
        if trial.number % 2:
            raise optuna.TrialPruned
        return sign * value

    def best(own: optuna.samplers.BaseSampler) -> float:
        study = optuna.create_study(direction=direction, sampler=own)
        study.optimize(objective, n_trials=60)
        return sign * study.best_value

    assert best(sampler(seed=0)) >= best(optuna.samplers.RandomSampler(seed=0)) + 4


def test_with_few_finished_trials_pruned_ones_still_lead_the_way() -> None:
    def objective(trial: optuna.Trial) -> float:
        value = sum(trial.suggest_categorical(f"b{place}", [0, 1, 2, 3]) for place in range(10))
        trial.report(value, 1)
        if trial.number < 40:
            raise optuna.TrialPruned
        return float(value)

    study = optuna.create_study(direction="maximize", sampler=GuidedSampler(seed=0))
    study.optimize(objective, n_trials=41)

    assert study.best_value >= 25


@pytest.mark.parametrize("sampler", [GuidedSampler, EvolutionSampler])
def test_a_pruned_trial_that_did_not_tell_whether_it_meets_the_constraints_is_not_taken_to(sampler: Any) -> None:
    def objective(trial: optuna.Trial) -> float:
        value = sum(trial.suggest_categorical(f"b{place}", [0, 1, 2, 3]) for place in range(10))
        trial.report(value, 1)
        if trial.number % 2:
            raise optuna.TrialPruned
        trial.set_constraint("small", value - 6.0)  # hardly any at random: 15 is usual
        return float(value)

    study = optuna.create_study(direction="maximize", sampler=sampler(seed=0))
    study.optimize(objective, n_trials=120 if sampler is EvolutionSampler else 60)

    finished = [trial for trial in study.trials if trial.state == optuna.trial.TrialState.COMPLETE]
    assert sum(trial.value <= 6 for trial in finished) >= 4


def test_evolution_takes_a_finished_trial_before_a_pruned_one_that_promised_more() -> None:
    def objective(trial: optuna.Trial) -> float:
        value = sum(trial.suggest_categorical(f"b{place}", [0, 1, 2, 3]) for place in range(10))
        if trial.params["b0"] == 0:
            trial.report(1000.0, 1)
            raise optuna.TrialPruned
        return float(value)

    study = optuna.create_study(direction="maximize", sampler=EvolutionSampler(seed=0))
    study.optimize(objective, n_trials=120)

    assert study.best_value >= 26


def test_a_parameter_that_is_no_choice_is_told_once_to_be_drawn_evenly(caplog) -> None:
    study = optuna.create_study(sampler=GuidedSampler(seed=0))

    study.optimize(lambda trial: trial.suggest_float("rate", 0.0, 1.0), n_trials=3)

    told = [record.message for record in caplog.records if "drawn evenly" in record.message]
    assert told == [
        "GuidedSampler searches categorical parameters, rate is none and drawn evenly; offer its values by "
        "suggest_categorical, or take one of Optuna's samplers"
    ]
