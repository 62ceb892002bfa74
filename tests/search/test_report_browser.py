"""The page of a search in a real browser: hover, click, filter, sort, and no error in the console."""

import shlex
from dataclasses import replace
from pathlib import Path

import pytest
from answers import searched
from browser import CHROMIUM, Browser

from mnasnet.reward import Reward
from mnasnet.search.answer import EXTEND, PROMOTE
from mnasnet.search.report.files import write_answer

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")

ROWS = "document.querySelectorAll('#trials tbody tr').length"


@pytest.fixture(scope="module")
def answer():
    return searched()


@pytest.fixture(scope="module")
def page(answer, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    write_answer(answer, folder)
    return folder / "report.html"


@pytest.fixture(scope="module")
def browser():
    opened = Browser()
    yield opened
    opened.close()


@pytest.fixture(autouse=True)
def without_errors(browser):
    browser.errors.clear()
    yield
    assert browser.errors == []


def place_of_star(browser) -> tuple[float, float]:
    """The middle of the winner's star in the window, after scrolling there."""
    box = browser.run(
        "(() => { const star = document.querySelector('#plot .star'); star.scrollIntoView({block: 'center'});"
        " const b = star.getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2]; })()"
    )
    return box[0], box[1]


def set_field(browser, field: str, value: str) -> None:
    browser.run(
        f"(() => {{ const field = document.getElementById('{field}'); field.value = '{value}';"
        " field.dispatchEvent(new Event('input', {bubbles: true})); })()"
    )


def test_hover_tells_the_network_under_the_mouse(browser, page, answer):
    browser.open(page)

    browser.point_at(*place_of_star(browser))

    tip = browser.run("document.getElementById('tip').hidden ? '' : document.getElementById('tip').textContent")
    assert f"trial {answer.winner.number}, done" in tip and "measured" in tip


def test_a_click_on_a_row_draws_its_network(browser, page, answer):
    browser.open(page)

    browser.run("document.querySelector('#trials tbody tr[data-trial=\"0\"]').click()")

    assert browser.run("document.getElementById('chosen-title').textContent").startswith("Trial 0")
    layers = sum(block.repeats for block in answer.space.architecture(answer.records[0].params).blocks)
    assert browser.run("document.querySelectorAll('#drawing rect').length") == layers + 2  # stem and head


def test_a_click_on_a_point_chooses_it(browser, page, answer):
    browser.open(page)
    browser.run("document.querySelector('#trials tbody tr[data-trial=\"0\"]').click()")

    browser.click(*place_of_star(browser))

    assert f"Trial {answer.winner.number}, the winner" in browser.run("document.body.innerText")


def test_filters_reduce_the_rows(browser, page, answer):
    browser.open(page)
    everything = browser.run(ROWS)

    set_field(browser, "state", "done")

    states = answer.counts()
    assert everything == len(answer.records) and browser.run(ROWS) == states["done"] < everything
    set_field(browser, "text", "block3.kernel=5")
    chosen = [
        r for r in answer.records if r.state == "done" and r.duplicate_of is None and r.params["block3.kernel"] == 5
    ]
    assert browser.run(ROWS) == len(chosen)
    assert browser.run("document.getElementById('shown').textContent") == str(len(chosen))


def test_the_pareto_set_is_a_line_over_its_own_cost_and_marks_over_another(browser, page):
    browser.open(page)
    lines = "document.querySelectorAll('#plot path.front:not(.dots)').length"
    legend = "document.getElementById('legend').textContent"

    over_latency = browser.run(lines), browser.run(legend)
    set_field(browser, "cost", "1")

    assert over_latency[0] == 1 and "no network is better" not in over_latency[1]
    assert browser.run(lines) == 0 and "no network is better in all that was sought" in browser.run(legend)


def test_a_click_on_a_column_sorts_and_a_second_one_reverses(browser, page):
    browser.open(page)
    set_field(browser, "state", "done")
    read = "[...document.querySelectorAll('#trials tbody tr')].map(row => parseFloat(row.cells[2].textContent))"

    browser.run("document.querySelectorAll('#trials th')[2].click()")
    rising = browser.run(read)
    browser.run("document.querySelectorAll('#trials th')[2].click()")

    assert rising == sorted(rising) and browser.run(read) == sorted(rising, reverse=True)


@pytest.mark.parametrize("width", [400, 1100])
@pytest.mark.parametrize("dark", [False, True])
def test_fits_the_window_by_day_and_by_night(browser, page, width, dark):
    browser.open(page, width=width, dark=dark)

    assert browser.run("document.documentElement.scrollWidth") <= width
    ground = browser.run("getComputedStyle(document.body).backgroundColor")
    assert ground == ("rgb(18, 23, 28)" if dark else "rgb(245, 247, 249)")


def test_commands_name_the_folder_in_which_the_page_lies_now(browser, answer, tmp_path):
    notes = [f"not compared; {PROMOTE} --references adds them", f"ended early; {EXTEND} --trials 10 goes on"]
    noted = replace(answer, notes=notes)
    (tmp_path / "before").mkdir()
    write_answer(noted, tmp_path / "before")
    moved = (tmp_path / "before").rename(tmp_path / "Ann's $1 search, ünd 100 %")
    browser.open(moved / "report.html")
    browser.run("document.querySelector('#trials tbody tr[data-trial=\"0\"]').click()")

    note = browser.run("document.querySelector('.warning').textContent")
    other = browser.run("document.querySelectorAll('.warning')[1].textContent")
    fact = browser.run("document.querySelector('#facts code').textContent")

    words = ["python", "-m", "mnasnet", "promote", str(moved)]
    assert shlex.split(note.partition("; ")[2])[:6] == [*words, "--references"]
    assert shlex.split(other.partition("; ")[2])[3:5] == ["extend", str(moved)]
    assert shlex.split(fact) == [*words, "--trial", "0"]
    assert str(tmp_path) not in (moved / "report.html").read_text(encoding="utf-8")


def test_a_page_kept_outside_its_run_folder_names_no_folder(browser, page, tmp_path):
    kept = tmp_path / "recorded_search.html"
    kept.write_bytes(page.read_bytes())
    browser.open(kept)

    browser.run("document.querySelector('#trials tbody tr[data-trial=\"0\"]').click()")

    fact = browser.run("document.querySelector('#facts code').textContent")
    assert fact == "python -m mnasnet promote RUN --trial 0"


@pytest.mark.parametrize("width", [400, 1100])
def test_the_name_of_the_limit_stands_clear_of_other_words(browser, answer, tmp_path, width):
    above = [record for record in answer.records if record.state == "infeasible"]
    nothing = {"winner": None, "pareto": (), "contenders": (), "kendall_tau": None}
    write_answer(replace(answer, records=above, reward=Reward(0.01), limits={"latency_ms": 0.01}, **nothing), tmp_path)
    browser.open(tmp_path / "report.html", width=width)

    boxes = browser.run(
        "[...document.querySelectorAll('#plot .line-name, #plot .strip-name')]"
        ".map(text => text.getBoundingClientRect()).map(box => [box.left, box.top, box.right, box.bottom])"
    )

    (left, top, right, bottom), strip = boxes
    assert bottom <= strip[1] or top >= strip[3] or right <= strip[0] or left >= strip[2]


@pytest.mark.parametrize("width", [400, 1100])
def test_the_name_of_the_target_at_the_edge_stays_in_the_picture(browser, page, width):
    browser.open(page, width=width)

    names, plot = browser.run(
        "[[...document.querySelectorAll('#plot .line-name')].map(text => text.getBoundingClientRect().right),"
        " document.querySelector('#plot svg').getBoundingClientRect().right]"
    )

    assert names and max(names) <= plot


def test_a_search_without_trials_is_a_page_too(browser, answer, tmp_path):
    write_answer(replace(answer, records=(), winner=None, pareto=(), contenders=(), kendall_tau=None), tmp_path)

    browser.open(tmp_path / "report.html")

    assert "No network to show." in browser.run("document.body.innerText")
