"""What a search is asked for: values that contradict each other are refused, paths are found from anywhere."""

from __future__ import annotations

import os
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from tiny_search import tiny_searching

from mnasnet.errors import SettingsError, SpecError
from mnasnet.search.prepare import begin
from mnasnet.search.searching import Searching
from mnasnet.settings import SearchSettings
from mnasnet.testing import write_image_folder


def test_every_default_of_the_settings_is_that_of_a_search() -> None:
    assert Searching(Path("photos"), **SearchSettings().arguments()) == Searching(Path("photos"))


def test_every_choice_of_a_search_can_be_typed() -> None:
    typed = {*SearchSettings().arguments(), "data", "output_folder"}

    assert {field.name for field in fields(Searching)} == typed


class TestNumbersOfTheReward:
    @pytest.mark.parametrize(
        ("chosen", "complaint"),
        [
            (
                {"target_cost": 50.0},
                "^target_cost is for cost multiply_adds or parameters or .* alone, got 50 with cost latency; set cost, "
                "or leave target_cost at 0$",
            ),
            ({"alpha": -0.1}, "^alpha is for reward product alone, got -0.1 with reward hard; set reward, or leave"),
            ({"beta": -2.0, "reward": "soft"}, "^beta is for reward product alone, got -2 with reward soft"),
            ({"slope": -0.2}, "^slope is for reward absolute alone, got -0.2 with reward hard; .* slope at -0.1$"),
        ],
    )
    def test_that_nobody_would_look_at_are_refused(self, chosen: dict[str, Any], complaint: str) -> None:
        with pytest.raises(SettingsError, match=complaint):
            Searching(Path("photos"), **chosen)

    @pytest.mark.parametrize(
        ("chosen", "complaint"),
        [
            ({"alpha": 1.0, "reward": "product"}, "alpha must be 0 or negative, so that cost is a loss, got 1.0"),
            ({"beta": -40.0, "reward": "product"}, "beta must be -10 or more, got -40.0"),
            ({"slope": 0.5, "reward": "absolute"}, "slope must be 0 or negative, so that cost is a loss, got 0.5"),
            ({"slope": float("nan"), "reward": "absolute"}, "slope must be a finite number, got nan"),
            ({"target_latency_ms": 0.0}, "the target must be a number above 0"),
            ({"target_cost": -1.0, "cost": "parameters"}, "the target must be a number above 0"),
        ],
    )
    def test_that_make_no_reward_are_refused(self, chosen: dict[str, Any], complaint: str) -> None:
        with pytest.raises(SettingsError, match=complaint):
            Searching(Path("photos"), **chosen)

    def test_are_taken_where_they_count(self) -> None:
        assert Searching(Path("photos"), cost="parameters", target_cost=1e6).target == 1e6
        assert Searching(Path("photos"), reward="product", alpha=-0.1, beta=-2.0).reward_function.beta == -2.0
        assert Searching(Path("photos"), reward="absolute", slope=-0.2).reward_function.slope == -0.2

    def test_of_a_search_that_was_once_let_go_unused_do_not_keep_it_from_going_on(self) -> None:
        kept = {**Searching(Path("photos")).to_dict(), "target_cost": 50.0, "alpha": -0.1}

        assert Searching.from_dict(kept) == Searching.from_dict(Searching(Path("photos")).to_dict())


def test_numbers_of_numpy_and_a_path_as_text_are_taken() -> None:
    numbers: dict[str, Any] = {"trials": np.int64(3), "minutes": np.float32(5), "target_latency_ms": np.float64(8)}

    searching = Searching("photos", **numbers)  # type: ignore[arg-type]

    assert searching == Searching(Path("photos"), trials=3, minutes=5.0, target_latency_ms=8.0)
    assert yaml.safe_load(yaml.safe_dump(searching.to_dict())) == searching.to_dict()


@pytest.mark.parametrize(
    ("chosen", "complaint"),
    [
        ({"trials": True}, "trials must be a whole number, got True"),
        ({"trials": "3"}, "trials must be a whole number, got '3'"),
        ({"trials": 2.5}, "trials must be a whole number, got 2.5"),
        ({"minutes": None}, "minutes must be a number, got None"),
        ({"minutes": np.float32("nan")}, "minutes must be a finite number, got nan"),
        ({"strict": "no"}, "strict must be true or false, got 'no'"),
    ],
)
def test_a_setting_of_another_kind_is_refused(chosen: dict[str, Any], complaint: str) -> None:
    with pytest.raises(SettingsError, match=complaint):
        Searching(Path("photos"), **chosen)


def test_a_tilde_is_the_home_folder_in_every_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USERPROFILE" if os.name == "nt" else "HOME", str(tmp_path))
    asked = Searching(Path("~/photos"), space="~/s.yaml", latency_table="~/t.json", output_folder=Path("~/runs"))

    found = asked.with_home()

    assert found.data == tmp_path / "photos" and found.output_folder == tmp_path / "runs"
    assert Path(found.space) == tmp_path / "s.yaml" and Path(found.latency_table) == tmp_path / "t.json"
    assert Searching.from_dict(asked.to_dict()).output_folder == tmp_path / "runs"
    for storage, kept in (("sqlite:///~x.db", "sqlite:///~x.db"), ("sqlite:///~/x.db", f"sqlite:///{tmp_path}/x.db")):
        assert Searching(Path("photos"), storage=storage).with_home().storage == kept


def test_a_space_by_a_name_that_no_file_can_have_is_told_with_those_that_there_are() -> None:
    with pytest.raises(SpecError, match="no search space and no file is called 'x.*; there are paper, published"):
        Searching(Path("photos"), space="x" * 300).open_space()


def test_a_search_begins_in_the_home_folder_where_it_is_asked_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("USERPROFILE" if os.name == "nt" else "HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    data = write_image_folder(tmp_path / "photos", per_class=10)
    asked = replace(tiny_searching(data, tmp_path), space="~/space.json", output_folder=Path("~/runs"))

    folder = begin(asked, tell=lambda text: None, stop=lambda: False)

    assert folder.path == tmp_path / "runs" / "tiny"


@pytest.mark.parametrize(
    ("storage", "kept"),
    [
        ("sqlite:///s.db", "sqlite:///{here}/s.db"),
        ("sqlite+pysqlite:///below/s.db", "sqlite+pysqlite:///{here}/below/s.db"),
        ("sqlite:////data/s.db", "sqlite:////data/s.db"),
        ("sqlite:///:memory:", "sqlite:///:memory:"),
        ("postgresql://host/name", "postgresql://host/name"),
        ("", ""),
    ],
)
def test_a_database_file_is_kept_by_its_whole_path_so_that_a_search_goes_on_from_anywhere(
    storage, kept, monkeypatch, tmp_path
):
    monkeypatch.chdir(tmp_path)

    assert Searching(Path("photos"), storage=storage).to_dict()["storage"] == kept.format(here=tmp_path)
