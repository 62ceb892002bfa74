"""What became of judging one network, told by whoever judged it: this process, a worker or a machine far away."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Literal

import optuna

from mnasnet.data.images import ImageFileError
from mnasnet.errors import SearchError
from mnasnet.search.problem import Evaluator, Report, number_of
from mnasnet.space import Candidate
from mnasnet.words import kind_and_line, one_line

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Verdict:
    """An accuracy (0 to 1), or why there is none.

    ``lost`` means that the process that judged came to its end, ``unread`` that an image could not be read any more:
    neither is the network's fault.
    """

    kind: Literal["done", "pruned", "failed", "lost", "unread"]
    accuracy: float = 0.0
    reason: str = ""


def judge(evaluator: Evaluator, candidate: Candidate, report: Report) -> Verdict:
    """Let ``evaluator`` judge ``candidate``; its error is a verdict too and is not raised."""

    def checked(step: int, accuracy: float) -> None:
        number = number_of(accuracy)
        if number is None or not 0.0 <= number <= 1.0:
            raise SearchError(f"the accuracy so far must lie in 0 to 1, the evaluator reported {accuracy!r}")
        report(step, number)

    try:
        accuracy = evaluator.evaluate(candidate, checked)
        number = number_of(accuracy)
        if number is None:
            return Verdict("failed", reason=f"accuracy must lie in 0 to 1, the evaluator returned {accuracy!r:.80}")
        return Verdict("done", number)
    except optuna.TrialPruned as error:
        return Verdict("pruned", reason=str(error))
    except ImageFileError as error:
        return Verdict("unread", reason=str(error))
    except Exception as error:  # whatever a user's evaluator raises must not end the search
        _logger.warning("judging a network failed: %s", one_line(error), exc_info=True)
        return Verdict("failed", reason=kind_and_line(error))
