"""How far the shared weights of a search can be trusted: networks of its space trained alone, kept in its folder."""

from __future__ import annotations

import time
from collections.abc import Callable

from mnasnet.errors import SearchError
from mnasnet.search.problem_of import OpenSearch
from mnasnet.search.ranking import RankedNetwork, Ranking, check_ranking, rank, recorded
from mnasnet.search.searching import FEWEST_RANKED


def check_ranking_of(
    search: OpenSearch,
    *,
    on_network: Callable[[RankedNetwork], object] = lambda network: None,
    goes_on: Callable[[], bool] = lambda: True,
) -> Ranking | None:
    """Train as many networks alone as the search asks for, while it ``goes_on``, as short trainings, and compare.

    What lies in the folder already is not trained again. Raises SearchError for a search without shared weights, and
    SearchStopped when asked to stop.
    """
    if search.shared is None:
        raise SearchError(f"{search.folder.path} judged by short training, there are no shared weights to check")
    return check_ranking(
        search.problem.space,
        search.searching.check_ranking,
        shared=search.shared,
        alone=search.training,
        input_size=search.plan.input_size,
        num_classes=len(search.plan.class_names),
        clock=time.perf_counter,
        seed=search.searching.seed,
        record=search.folder.ranking,
        on_network=on_network,
        goes_on=goes_on,
    )


def ranking_of(search: OpenSearch) -> Ranking | None:
    """The comparison as far as it got; None where there is none, or too few networks for one."""
    networks = list(recorded(search.folder.ranking).values())
    return rank(networks, seed=search.searching.seed) if len(networks) >= FEWEST_RANKED else None
