"""What became of judging one network, told by whoever judged it: this process, a worker or a machine far away."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Literal

import optuna

from mnasnet.errors import SearchError
from mnasnet.search.problem import Evaluator, Report
from mnasnet.space import Candidate

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Verdict:
    """An accuracy (0 to 1), or why there is none; ``lost`` means that the process that judged came to its end."""

    kind: Literal["done", "pruned", "failed", "lost"]
    accuracy: float = 0.0
    reason: str = ""


def judge(evaluator: Evaluator, candidate: Candidate, report: Report) -> Verdict:
    """Let ``evaluator`` judge ``candidate``; its error is a verdict too and is not raised."""

    def checked(step: int, accuracy: float) -> None:
        if not 0.0 <= accuracy <= 1.0:
            raise SearchError(f"the accuracy so far must lie in 0 to 1, the evaluator reported {accuracy!r}")
        report(step, accuracy)

    try:
        return Verdict("done", float(evaluator.evaluate(candidate, checked)))
    except optuna.TrialPruned as error:
        return Verdict("pruned", reason=str(error))
    except Exception as error:  # whatever a user's evaluator raises must not end the search
        _logger.warning("judging a network failed: %s", error, exc_info=True)
        return Verdict("failed", reason=f"{type(error).__name__}: {error}")
