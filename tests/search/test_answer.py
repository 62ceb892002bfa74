"""The files of a search's answer: they hold what the study holds, and nothing a name contains becomes markup."""

import csv
import io
import json
import re
import struct
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from answers import searched
from matplotlib.figure import Figure
from optuna.pruners import MedianPruner
from work import calls_in

from mnasnet.errors import LatencyError
from mnasnet.latency.meter import Latency
from mnasnet.latency.remembered import RememberingMeter
from mnasnet.reward import Reward
from mnasnet.search.answer import Answer, Contender
from mnasnet.search.costs import quantity
from mnasnet.search.counts import CountMeter
from mnasnet.search.longer_training import measured
from mnasnet.search.notes import about_device_away, about_promoted, about_target, levelled_off
from mnasnet.search.pareto import hypervolume
from mnasnet.search.problem import SearchProblem
from mnasnet.search.ranking import RankedNetwork, rank
from mnasnet.search.records import TrialRecord, extrapolated_accuracies, pareto_set, records
from mnasnet.search.report.effects import FEWEST_NETWORKS, effects
from mnasnet.search.report.figures import pareto_picture, progress, progress_picture
from mnasnet.search.report.files import write_answer
from mnasnet.search.report.page import report_html
from mnasnet.search.report.summary import summary_lines, tau_sentence
from mnasnet.search.results import rank_agreement
from mnasnet.search.study import Budget, create_study, search
from mnasnet.spec import ArchitectureSpec
from mnasnet.testing import random_model

FILES = {"trials.csv", "pareto.csv", "pareto.json", "winner.json", "pareto.png", "progress.png", "choices.png",
         "report.html"}  # fmt: skip


@pytest.fixture(scope="module")
def answer() -> Answer:
    return searched()


@pytest.fixture(scope="module")
def folder(answer, tmp_path_factory) -> Path:
    made = tmp_path_factory.mktemp("answer")
    write_answer(answer, made)
    return made


def rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))


def page_of(answer: Answer) -> str:
    return report_html(answer, effects(answer), b"", [])


def data_of(page: str) -> dict:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def test_a_trial_that_was_at_work_when_the_search_stopped_is_unfinished(answer):
    *others, last = answer.records
    records = [*others, replace(last, state="running", duplicate_of=None)]

    counts = {status: replace(answer, records=records, status=status).counts() for status in ("running", "stopped")}

    assert counts["running"]["running"] == counts["stopped"]["unfinished"] == 1
    assert "running" not in counts["stopped"]
    stopped = data_of(page_of(replace(answer, records=records, status="stopped")))
    assert [trial[1] for trial in stopped["trials"]].count("unfinished") == 1


def test_the_page_does_not_deny_the_training_of_a_network_above_a_limit_that_was_promoted(answer):
    over = next(record for record in answer.records if record.state == "infeasible")
    above = Contender(name="trial over", kind="promoted", trial=over.number, epochs=9, costs=over.costs)

    page = page_of(replace(answer, contenders=[above]))

    assert "5.4 ms, without exception: no trial above it was judged" in page and "no training" not in page


def test_a_network_above_a_limit_that_was_trained_fully_is_told_by_how_much_it_is_above(answer):
    over = next(record for record in answer.records if record.state == "infeasible")
    within, reference = answer.contenders
    above = Contender(name="trial over", kind="promoted", trial=over.number, costs={"latency_ms": 10.8})

    note = about_promoted(answer.limits, answer.records, [within, above, replace(reference, costs={"latency_ms": 99})])

    assert note.endswith("search: trial over (latency 10.8 ms, 100.00% above the limit of 5.4 ms)")
    assert about_promoted(answer.limits, answer.records, [within]) == ""


@pytest.mark.parametrize(("cost", "target", "dearest"), [("latency_ms", "50 ms", "9 ms"), ("parameters", "6 M", "2 M")])
def test_a_target_of_any_cost_that_never_bound_is_told(cost, target, dearest):
    found = [TrialRecord(0, "done", {}, costs={"latency_ms": 9.0, "parameters": 2e6}), TrialRecord(1, "failed", {})]
    reward = Reward(50.0 if cost == "latency_ms" else 6e6)

    told = about_target(reward, cost, found)

    assert f"the target of {target} never bound: the dearest network tried has {quantity(cost).title} {dearest}" in told
    assert about_target(replace(reward, target=2.0), cost, found) == ""
    assert about_target(replace(reward, form="absolute"), cost, found) == ""


def test_a_search_that_ended_because_its_device_was_away_says_how_it_goes_on(answer):
    away = replace(answer.records[0], state="unmeasured", reason="the agent at X is away (refused); start it there")
    repeat = replace(away, state="done", reason="", duplicate_of=0)
    found = [*answer.records, *[away] * 10, repeat]

    told = about_device_away(found, "done")

    assert told == (
        "the search ended early: the agent at X is away (refused); python -m mnasnet extend RUN --trials 10 goes on "
        "when the device measures again"
    )
    assert about_device_away(found[:-2], "done") == about_device_away(found, "stopped") == ""


def test_the_page_of_a_single_trial_speaks_of_one(answer):
    best = answer.winner
    own = [replace(one, epochs=1) for one in answer.contenders if one.trial == best.number]

    text = page_of(replace(answer, records=[best], pareto=[best], contenders=own))

    words = " ".join(re.sub(r"<[^>]+>", "", text).split())
    assert "fully trained, 1 epoch " in words and "1network judged" in words and "1 of 1 trial pass" in words
    assert "cannot be told from 1 judged network;" in words
    assert "Published networks had the same training" not in words


class TestFiles:
    def test_every_file_is_written(self, folder):
        assert {path.name for path in folder.iterdir()} == FILES

    def test_pictures_are_png_of_a_sensible_size(self, folder):
        for path in folder.glob("*.png"):
            content = path.read_bytes()

            width, height = struct.unpack(">II", content[16:24])
            assert content.startswith(b"\x89PNG") and 500 < width < 2000 and 200 < height < 2000

    def test_the_curve_of_two_trials_is_over_whole_trials(self, answer, monkeypatch):
        finished = [record for record in answer.records if record.is_result][:2]
        two = [replace(record, number=number) for number, record in enumerate(finished)]
        monkeypatch.setattr("mnasnet.search.report.figures.png", lambda figure: figure)

        by_trial = progress_picture(replace(answer, records=two)).axes[0]

        left, right = by_trial.get_xlim()
        assert [tick for tick in by_trial.get_xticks() if left <= tick <= right] == [0, 1]

    def test_trials_csv_has_every_trial_with_state_reason_and_choices(self, answer, folder):
        table = rows(folder / "trials.csv")

        assert [int(row["trial"]) for row in table] == [record.number for record in answer.records]
        for row, record in zip(table, answer.records, strict=True):
            assert row["state"] == record.state and row["reason"] == record.reason
            assert {name: row[name] for name in record.params} == {k: str(v) for k, v in record.params.items()}
            assert row["accuracy"] == ("" if record.accuracy is None else str(record.accuracy))
            assert {name: float(row[name]) for name in record.costs} == dict(record.costs)

    def test_the_search_made_trials_of_several_states(self, answer):
        assert {"done", "infeasible", "failed"} <= {record.state for record in answer.records}

    def test_pareto_files_hold_the_studys_pareto_set(self, answer, folder):
        expected = [record.number for record in pareto_set(answer.records, ["latency_ms"])]

        assert [int(row["trial"]) for row in rows(folder / "pareto.csv")] == expected
        told = json.loads((folder / "pareto.json").read_text(encoding="utf-8"))
        assert [network["trial"] for network in told["networks"]] == expected

    def test_networks_of_the_pareto_file_are_those_of_their_choices(self, answer, folder):
        told = json.loads((folder / "pareto.json").read_text(encoding="utf-8"))

        for network in told["networks"]:
            assert ArchitectureSpec.from_dict(network["architecture"]) == answer.space.architecture(network["choices"])

    def test_the_winners_file_is_an_architecture_that_names_its_search(self, answer, folder):
        spec = ArchitectureSpec.from_dict(json.loads((folder / "winner.json").read_text(encoding="utf-8")))

        assert spec == answer.space.architecture(answer.winner.params)
        assert spec.name == f"leaves_trial{answer.winner.number}" and "search leaves" in spec.source

    def test_pareto_json_says_which_costs_were_measured(self, folder):
        told = json.loads((folder / "pareto.json").read_text(encoding="utf-8"))

        assert told["costs"] == {"latency_ms": "measured", "multiply_adds": "counted"}


class TestPage:
    def test_needs_no_network(self, folder):
        page = (folder / "report.html").read_text(encoding="utf-8")

        assert not re.search(r'(src|href)=(?!"data:)|@import|fetch\(|XMLHttpRequest|import\(', page)

    def test_holds_every_trial_and_its_design(self, answer, folder):
        data = data_of((folder / "report.html").read_text(encoding="utf-8"))

        assert [trial[0] for trial in data["trials"]] == [record.number for record in answer.records]
        blocks = [data["designs"][place]["kernel"] for place in data["trials"][answer.winner.number][9]]
        assert blocks == [block.kernel for block in answer.space.architecture(answer.winner.params).blocks]

    def test_names_and_reasons_never_become_markup(self, answer):
        evil = '</script><script>alert("x")</script>'
        records = [replace(record, reason=evil) if record.reason else record for record in answer.records]
        contenders = [replace(contender, name=evil, model=evil) for contender in answer.contenders]
        changed = replace(answer, name=evil, device=evil, evaluator=evil, notes=[evil], reason=evil,
                          records=records, contenders=contenders)  # fmt: skip

        page = page_of(changed)

        assert "<script>alert" not in page and evil in data_of(page)["reasons"]

    def test_says_that_the_soft_form_ignores_the_target(self, answer):
        assert 'id="soft-form"' in page_of(replace(answer, reward=Reward(5.0, "soft")))
        assert 'id="soft-form"' not in page_of(answer)

    def test_says_by_which_reward_the_winner_of_a_search_for_trade_offs_was_chosen(self, answer):
        text = page_of(replace(answer, reward=None, winner_reward=answer.reward, objectives=("multiply_adds",)))

        assert (
            "the Pareto set of top-1 accuracy against multiply-adds; the winner by the hard reward of top-1 accuracy "
            "and latency, target 5 ms"
        ) in text

    def test_separates_validation_from_test_and_measured_from_predicted(self, folder):
        page = (folder / "report.html").read_text(encoding="utf-8")

        assert "<th>Validation</th><th>Test</th>" in page and "Kendall tau 0.60" in page
        assert "measured on this processor" in page and "counted from the network, exactly" in page

    def test_compares_the_order_of_shared_weights_with_those_by_size_and_without_training(self, answer):
        judged = [RankedNetwork({}, str(i), 0.1 * i, 0.2 * i, 1.0 * i, -1.0 * i, 0.0, 0.1, 1.0) for i in range(5)]

        page = page_of(replace(answer, ranking=rank(judged)))

        table = page[page.index("How far to trust the shared weights") : page.index("All trials")]
        rows = [re.sub(r"<[^>]+>", " ", row).split() for row in re.findall(r"<tr><td>.*?</tr>", table)]
        assert rows[0] == ["shared", "weights", "1.00", "0.20", "to", "1.00", "0.0%", "–"]
        assert [row[0] for row in rows[1:]] == ["parameter", "multiply-adds", "synaptic"]
        assert "How far to trust the shared weights" not in page_of(answer)

    def test_tells_one_latency_of_the_winner_that_measured_after_its_training(self, answer):
        trained, *others = answer.contenders
        again = replace(trained, costs={**trained.costs, "latency_ms": 4.875})
        predicted = {"latency_ms": False}

        page = page_of(replace(answer, contenders=[again, *others], measured=predicted))

        head = page[page.index("What was found") : page.index("Networks tried")]
        assert set(re.findall(r"[\d.]+ ms", head)) == {"4.88 ms"}
        assert '<b>4.88 ms</b>latency<br>\n<span class="soft">measured</span>' in head

    def test_tells_those_trained_longer_by_rising_cost(self, answer):
        trained = [replace(answer.contenders[0], name=f"{ms} ms", costs={"latency_ms": ms}) for ms in (5.0, 3.0, 4.0)]

        page = page_of(replace(answer, contenders=trained))

        assert re.findall(r'<td class="network">(.*?)</td>', page) == ["3.0 ms", "4.0 ms", "5.0 ms"]

    def test_of_a_worst_class_recall_names_it_and_tells_no_interval_of_all_images(self, answer, folder):
        html = page_of(replace(answer, accuracy_name="expected worst-class recall"))

        longer = html[html.index("Trained longer") : html.index("All trials")]
        assert "fully trained, 30 epochs, worst-class recall" in html
        assert longer.count('<span class="small">worst-class recall</span>') == 2
        assert "82.6% to 94.5%" not in longer and "no interval is told" in longer
        assert "82.6% to 94.5%" in (folder / "report.html").read_text(encoding="utf-8")  # of 90 of 100 images

    def test_latency_of_those_trained_longer_is_shown_though_the_search_cared_for_another_cost(self, answer):
        measured = {"undisturbed_ms": 7.125, "quiet": False, "note": "not quiet: the load was 3"}
        costs = {"multiply_adds": 5e6}
        contenders = [replace(contender, costs=costs, latency=measured) for contender in answer.contenders]
        records = [replace(record, costs={"multiply_adds": 5e6}) for record in answer.records]

        page = page_of(
            replace(answer, reward=None, limits={}, winner=None, pareto=(), records=records, contenders=contenders)
        )

        assert "7.12 ms*" in page and "not quiet: the load was 3" in page

    def test_ten_thousand_trials_stay_a_page_of_a_few_megabytes(self, answer):
        many = answer.records * (10_000 // len(answer.records) + 1)
        numbered = [replace(record, number=number) for number, record in enumerate(many[:10_000])]

        assert len(page_of(replace(answer, records=numbered)).encode()) < 5e6


class TestPictures:
    @pytest.fixture
    def drawn(self, monkeypatch) -> list[Figure]:
        """The figures, in place of their PNG."""
        figures: list[Figure] = []
        monkeypatch.setattr("mnasnet.search.report.figures.png", figures.append)
        return figures

    @pytest.mark.parametrize(
        ("objectives", "line", "label"),
        [
            ((), "-", "Pareto set"),
            (("latency_ms",), "-", "Pareto set"),
            (
                ("latency_ms", "multiply_adds"),
                "None",
                "Pareto set: no network is better in all that was sought",
            ),
        ],
    )
    def test_the_pareto_set_is_a_line_over_one_cost_alone(self, answer, drawn, objectives, line, label):
        few = [record for record in answer.records if record.is_result][:3]

        pareto_picture(replace(answer, objectives=objectives, pareto=few))

        shown = {str(one.get_label()): one.get_linestyle() for one in drawn[0].axes[0].lines}
        assert shown[label] == line

    def test_trials_above_the_target_are_hollow(self, answer, drawn):
        judged = [record for record in answer.records if record.accuracy is not None]
        above = sum(record.costs["latency_ms"] > 5.0 for record in judged)

        pareto_picture(answer)

        marks = {str(one.get_label()): one for one in drawn[0].axes[0].lines}
        assert [len(marks[name].get_xdata()) for name in ("trials", "trials above the target")] == [
            len(judged) - above,
            above,
        ]
        assert marks["trials above the target"].get_fillstyle() == "none"

    @pytest.mark.parametrize(("far_ms", "further"), [(6.9, ""), (9.0, ", 1 of them further right")])
    def test_networks_far_above_the_limit_are_counted_and_leave_room(self, answer, drawn, far_ms, further):
        judged = [record for record in answer.records if record.is_result]
        over = [
            TrialRecord(900 + place, "infeasible", {}, costs={"latency_ms": ms})
            for place, ms in enumerate((5.5, far_ms))
        ]

        pareto_picture(replace(answer, records=[*judged, *over]))  # of a limit of 5.4 ms

        labels = [str(one.get_label()) for one in drawn[0].axes[0].lines]
        assert f"2 above a limit, not trained{further}" in labels

    def test_two_trainings_of_one_published_network_are_two_marks(self, answer, drawn):
        reference = answer.contenders[-1]
        longer = replace(reference, epochs=60, val_accuracy=0.87)

        pareto_picture(replace(answer, contenders=[reference, longer]))

        marks = {str(one.get_label()): list(one.get_ydata()) for one in drawn[0].axes[0].lines}
        assert marks["for comparison (validation)"] == [0.85, 0.87]

    def test_progress_of_trade_offs_is_what_their_pareto_set_dominates(self, answer):
        points = [(0.5, 8.0), (0.4, 8.0), (0.4, 4.0), (0.5, 4.0)]  # accuracy and ms, of which 8 is the highest
        records = [
            TrialRecord(number, "done", {}, costs={"latency_ms": ms}, accuracy=accuracy, values=(accuracy, ms))
            for number, (accuracy, ms) in enumerate(points)
        ]

        found = progress(replace(answer, reward=None, objectives=("latency_ms",), records=records))

        assert [value for _, _, value in found] == [0.0, 0.0, 0.4 * 0.5, 0.5 * 0.5]

    def test_trade_offs_are_drawn_over_the_cost_that_was_traded(self, answer):
        traded = replace(answer, reward=None, objectives=("multiply_adds",))

        assert traded.cost_names == ("multiply_adds", "latency_ms")
        assert traded.front_cost == data_of(page_of(traded))["frontCost"] == "multiply_adds"


class TestWithoutAnAnswer:
    @pytest.mark.parametrize(
        "records",
        [
            [],
            [TrialRecord(0, "running", {}), TrialRecord(1, "unmeasured", {}, reason="the device is away")],
            [TrialRecord(0, "infeasible", {}, costs={"latency_ms": 9.0}, reason="latency_ms 9 > 5.4")],
        ],
    )
    def test_a_search_without_a_finished_trial_has_its_files_too(self, answer, tmp_path, records):
        nothing = replace(answer, records=records, winner=None, pareto=(), contenders=(), kendall_tau=None,
                          status="failed", reason="no network met the limits")  # fmt: skip

        write_answer(nothing, tmp_path)

        assert {path.name for path in tmp_path.iterdir()} == FILES - {"winner.json"}
        assert len(rows(tmp_path / "trials.csv")) == len(records)
        assert "No winner: no network met the limits." in (tmp_path / "report.html").read_text(encoding="utf-8")

    def test_a_pareto_search_has_no_reward_column(self, answer, tmp_path):
        records = [
            replace(record, values=(record.accuracy, record.costs["latency_ms"])) if record.values else record
            for record in answer.records
        ]
        changed = replace(answer, reward=None, reward_cost="", objectives=("latency_ms",), records=records)

        write_answer(changed, tmp_path)

        assert "reward" not in rows(tmp_path / "trials.csv")[0]
        assert data_of(page_of(changed))["progressOf"] == "hypervolume"


def traded_off(answer: Answer, count: int) -> Answer:
    """So many networks of which none beats another in accuracy and both costs, and as many that one of them beats."""
    found = []
    for number in range(count):
        share = (number * 0.618034) % 1.0  # all over the front, not along it
        costs = {"latency_ms": 1.0 + share, "parameters": 1e6 * (3.0 - share**2)}
        for place, accuracy in enumerate((0.9, 0.8)):
            values = accuracy, *costs.values()
            params = answer.records[0].params
            found.append(TrialRecord(2 * number + place, "done", params, f"{number} {place}", costs, accuracy, values))
    return replace(answer, records=found, reward=None, reward_cost="", objectives=("latency_ms", "parameters"))


def test_the_hypervolume_after_each_network_is_that_of_all_until_then(answer):
    traded = traded_off(answer, 20)
    highest = {name: max(record.costs[name] for record in traded.records) for name in traded.objectives}
    points = [
        (record.accuracy, *(1.0 - record.costs[name] / highest[name] for name in traded.objectives))
        for record in traded.records
    ]

    found = [value for _, _, value in progress(traded)]

    assert found == pytest.approx([hypervolume(points[:count], [0.0] * 3) for count in range(1, len(points) + 1)])


def test_the_work_for_the_hypervolume_grows_as_the_networks_do(answer):
    few, many = traded_off(answer, 30), traded_off(answer, 240)

    assert calls_in(lambda: progress(many)) < 2 * 8 * calls_in(lambda: progress(few))


class TestEffects:
    def test_finds_what_the_accuracy_was_made_of(self, answer):
        found = effects(answer)

        assert found.explained > 0.99  # the accuracy is a sum of what each kernel adds
        kernels = [effect for effect in found.choices if effect.choice.endswith("kernel")]
        assert kernels and list(found.choices[: len(kernels)]) == kernels
        assert all(effect.options[1].accuracy > effect.options[0].accuracy for effect in kernels)
        assert sum(effect.weight for effect in found.choices) == pytest.approx(1.0)

    def test_says_that_larger_kernels_cost_more(self, answer):
        kernels = [effect for effect in effects(answer).choices if effect.choice.endswith("kernel")]

        assert kernels and all(effect.options[1].cost > 0 > effect.options[0].cost for effect in kernels)

    def test_a_cost_effect_is_a_share_and_networks_that_tried_the_option_are_counted(self, answer):
        def kernels(record):
            return sum(value == 5 for name, value in record.params.items() if name.endswith("kernel"))

        half_more = [replace(record, costs={"latency_ms": 1.5 ** kernels(record)}) for record in answer.records]
        judged = [record for record in half_more if record.is_result]

        found = effects(replace(answer, records=half_more)).choices

        for effect in (effect for effect in found if effect.choice.endswith("kernel")):
            small, large = effect.options
            # about the mean of the logarithms; the penalty draws it to zero a little
            assert (small.cost, large.cost) == pytest.approx((1.5**-0.5 - 1, 1.5**0.5 - 1), rel=0.02)
            assert [small.tried, large.tried] == [
                sum(record.params[effect.choice] == kernel for record in judged) for kernel in (3, 5)
            ]

    def test_accuracies_that_have_nothing_to_do_with_the_choices_are_not_predicted(self, answer):
        noise = np.random.default_rng(1).uniform(0.4, 0.6, len(answer.records))  # of which no option tells by luck
        records = [replace(one, accuracy=float(noise[place])) for place, one in enumerate(answer.records)]

        assert effects(replace(answer, records=records)).explained < 0.01

    def test_claims_nothing_from_too_few_networks(self, answer):
        few = [record for record in answer.records if record.state == "done"][: FEWEST_NETWORKS - 1]

        found = effects(replace(answer, records=few))

        assert not found.choices and "cannot be told" in found.note

    @pytest.fixture(scope="class")
    def pruned(self, answer) -> Answer:
        """A search in which a pruner ended most trainings, as a larger kernel in block 5 is worth a lot."""

        class Training:
            def evaluate(self, candidate, report):
                accuracy = 0.4 + 0.2 * (answer.space.named_values(candidate)["block5.kernel"] == 5)
                for step in (1, 2, 3, 4):
                    report(step, accuracy - 0.05 * (4 - step))
                return accuracy

        problem = SearchProblem(answer.space, Training(), meters={"multiply_adds": CountMeter("multiply_adds", 64)},
                                reward=Reward(5e6), reward_cost="multiply_adds")  # fmt: skip
        study = create_study(problem, algorithm="random", seed=2, pruner=MedianPruner(n_startup_trials=4))
        search(study, problem, Budget(evaluations=60))
        found = records(study)
        return replace(answer, records=found, extrapolated=extrapolated_accuracies(found, problem))

    def test_trainings_that_ended_early_count_with_what_they_were_heading_for(self, pruned):
        found = effects(pruned)

        assert found.networks == 60 and found.extrapolated > 10
        assert found.choices[0].choice == "block5.kernel" and found.explained > 0.9
        assert f"{found.extrapolated} of which ended early and count with what they were heading for" in found.note

    def test_those_of_which_nothing_tells_where_they_were_heading_are_said_to_be_left_out(self, pruned):
        found = effects(replace(pruned, extrapolated={}))

        assert found.left_out == 60 - found.networks
        assert f"({found.left_out} more ended early and are left out)" in found.note

    def test_networks_that_ended_early_were_judged_too(self, pruned):
        assert "<b>60</b>networks judged" in page_of(pruned)


class TestWords:
    def test_the_latency_of_a_winner_that_was_trained_is_called_measured(self, answer):
        predicted = replace(answer, measured={"latency_ms": False})

        assert re.search(r"latency [\d.]+ ms measured", summary_lines(predicted)[0])
        assert re.search(r"latency [\d.]+ ms predicted", summary_lines(replace(predicted, contenders=[]))[0])

    def test_the_summary_tells_winner_effort_contenders_and_tau(self, answer):
        lines = summary_lines(answer)

        assert lines[0].startswith(
            f"Winner: trial {answer.winner.number}, top-1 accuracy 88.0% of 50 test images and 90.0% of 100 validation "
            f"images after its full training, in its trial {answer.winner.accuracy:.1%}; latency"
        )
        assert "measured" in lines[0]
        assert f"{len(answer.records)} trials in 1 min 30 s" in lines[1]
        assert "trial winner (winner): 30 epochs, validation 90.0%, test 88.0%" in lines[2]
        assert lines[-1].startswith("Kendall tau 0.60")

    def test_only_the_winners_own_training_is_called_the_winners(self, answer):
        winner, reference = answer.contenders
        longer, other = (replace(winner, epochs=60), replace(winner, trial=-1))

        told = replace(answer, contenders=[winner, longer, other, reference])

        assert [told.role_of(one) for one in told.contenders] == ["winner", "promoted", "promoted", "reference"]
        assert page_of(told).count(">winner<") == 1

    def test_only_the_trial_of_shared_weights_has_an_expected_accuracy(self, answer):
        line = summary_lines(replace(answer, accuracy_name="expected top-1 accuracy"))[0]

        assert "top-1 accuracy 88.0% of 50 test images" in line and ", expected" not in line
        assert f"in its trial expected {answer.winner.accuracy:.1%}; latency" in line

    def test_a_winner_that_was_not_trained_on_is_told_with_the_accuracy_of_its_trial(self, answer):
        line = summary_lines(replace(answer, contenders=[]))[0]

        assert f"top-1 accuracy {answer.winner.accuracy:.1%} of 200 validation images; latency" in line

    def test_an_expected_accuracy_is_no_share_of_the_images(self, answer):
        line = summary_lines(replace(answer, contenders=[], accuracy_name="expected top-1 accuracy"))[0]

        assert f"expected top-1 accuracy {answer.winner.accuracy:.1%} on 200 validation images; latency" in line

    def test_tau_is_of_what_the_search_thought_of_finalists_against_their_longer_training(self):
        finalists = [
            Contender(name="", kind="finalist", proxy_accuracy=thought, val_accuracy=reached)
            for thought, reached in ((0.5, 0.7), (0.6, 0.9), (0.7, 0.8), (0.1, None))
        ]

        assert rank_agreement(finalists) == pytest.approx(1 / 3)  # two of three pairs in order
        assert rank_agreement(finalists[:2]) is None

    def test_the_networks_that_tau_is_about_are_the_finalists_alone(self, answer):
        finalists = [
            Contender(name=f"trial {number}", kind="finalist", trial=number, proxy_accuracy=0.5, val_accuracy=0.6)
            for number in range(3)
        ]
        untrained = replace(finalists[0], val_accuracy=None)

        sentence = tau_sentence(replace(answer, contenders=[untrained, *finalists, *answer.contenders]))

        assert sentence.startswith("Kendall tau 0.60 between what the search thought of 3 networks")
        assert sentence.endswith("Of fewer than 10 networks chance decides much of it.")
        many = tau_sentence(replace(answer, contenders=[*finalists, *finalists, *finalists, *finalists]))
        assert many.endswith("-1 the reverse.")

    @pytest.mark.parametrize(
        ("name", "value", "text"),
        [
            ("latency_ms", 3.0894, "3.09 ms"),
            ("multiply_adds", 19.5e6, "19.5 M"),
            ("model_bytes", 3.2e6, "3.2 MB"),
            ("energy_mj", 12.0, "12 mJ"),
            ("cycles", 1234567.0, "1,234,567"),
        ],
    )
    def test_costs_are_shown_in_units_people_read(self, name, value, text):
        assert quantity(name).text(value) == text


class TestLevelledOff:
    @pytest.mark.parametrize(
        ("late", "ending"),
        [
            (0.5, "the last 3 of 10 trials found nothing better"),
            (0.60004, "the last 3 of 10 trials found nothing better"),
            (0.601, "the last 3 of 10 trials raised the best by 0.0010"),
        ],
    )
    def test_a_gain_that_nobody_would_see_is_told_as_none(self, late, ending):
        values = [0.6, *[0.5] * 6, late, 0.4, 0.4]

        told = levelled_off([TrialRecord(number, "done", {}, values=(value,)) for number, value in enumerate(values)])

        assert told == f"the gain has levelled off: {ending}"

    def test_where_two_values_count_accuracy_alone_tells_no_gain(self):
        records = [TrialRecord(number, "done", {}, values=(0.6, 9.0 - number / 2)) for number in range(10)]

        assert levelled_off(records) == ""


class TestMeasuredAfresh:
    """A network that was trained longer is measured again; a moment of other work must not make it slow for ever."""

    @pytest.mark.parametrize(
        ("fresh_ms", "quiet", "counts_ms"), [(0.33, False, 0.22), (0.33, True, 0.33), (0.20, False, 0.20)]
    )
    def test_a_disturbed_measurement_does_not_outweigh_a_faster_one(self, tmp_path, fresh_ms, quiet, counts_ms):
        def latency(ms: float, is_quiet: bool) -> Latency:
            return Latency("a board", "timing", "1", "fp32", 1, 1, 64, 50, ms, ms, ms, quiet=is_quiet)

        class Board:
            def __init__(self) -> None:
                self.times = [latency(0.22, True), *[latency(fresh_ms, quiet)] * 3]

            def measure(self, architecture, input_size):
                return self.times.pop(0)

        board, model = Board(), random_model()
        remembered = RememberingMeter(board, tmp_path / "latencies.jsonl")
        remembered.measure(model.architecture, 64)  # in its trial

        found = measured(SimpleNamespace(device_meter=board, remembered=remembered), model)

        assert found.undisturbed_ms == counts_ms
        assert ("disturbed since" in found.note) == (counts_ms == 0.22)

    def test_a_device_that_went_away_after_the_trial_costs_no_winner(self, tmp_path):
        class Board:
            answers = True

            def measure(self, architecture, input_size):
                if not self.answers:
                    raise LatencyError("the board does not answer")
                return Latency("a board", "timing", "1", "fp32", 1, 1, 64, 50, 0.22, 0.22, 0.22, quiet=True)

        board, model = Board(), random_model()
        remembered = RememberingMeter(board, tmp_path / "latencies.jsonl")
        remembered.measure(model.architecture, 64)
        board.answers = False

        found = measured(SimpleNamespace(device_meter=board, remembered=remembered), model)

        assert (found.undisturbed_ms, found.note) == (
            0.22,
            "measured in its trial, not since: the board does not answer",
        )
        nothing = RememberingMeter(board, tmp_path / "another")
        with pytest.raises(LatencyError, match="does not answer"):
            measured(SimpleNamespace(device_meter=board, remembered=nothing), model)
