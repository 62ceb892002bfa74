"""The check of shared weights: some networks trained alone, to see how far their order can be trusted."""

from __future__ import annotations

import time

from mnasnet.search.ranking import RankedNetwork, check_ranking
from mnasnet.search.sitting import Sitting


def ranking_stage(sitting: Sitting) -> None:
    """Train networks alone, as many as the minutes hold, to see how far the shared weights can be trusted.

    Raises SearchStopped.
    """
    here, judged, longest_s = sitting.here, 0, 0.0
    wanted = min(here.searching.check_ranking, here.problem.space.count_networks())
    sitting.tell("ranking", 0.0, f"training {wanted} networks alone")

    def has_time() -> bool:
        return longest_s <= sitting.left_s + sitting.times.ranking_s

    def told(network: RankedNetwork) -> None:
        nonlocal judged, longest_s
        judged += 1
        longest_s = max(longest_s, network.shared_s + network.alone_s)
        left_s = (wanted - judged) / wanted * sitting.times.ranking_s
        text = f"network {judged} of {wanted}: shared {network.shared:.1%}, trained alone {network.alone:.1%}"
        sitting.tell("ranking", judged / wanted, text, left_s)

    assert here.shared is not None  # the settings refuse the check of a search without shared weights
    ranking = check_ranking(
        here.problem.space,
        here.searching.check_ranking,
        shared=here.shared,
        alone=here.training,
        input_size=here.plan.input_size,
        num_classes=len(here.plan.class_names),
        clock=time.perf_counter,
        seed=here.searching.seed,
        record=here.folder.ranking,
        on_network=told,
        goes_on=has_time,
    )
    too_few = f"{judged} of {wanted} networks could be trained alone, too few to compare"
    sitting.tell("ranking", 1.0, ranking.sentence(here.searching.proxy_epochs) if ranking else too_few, 0.0)
