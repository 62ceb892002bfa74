"""Settings of the three tasks: one model each for workflow text, Qt form, command line and documentation.

A value may arrive typed or as text, since an Ikomia workflow carries nothing but text. Names of earlier releases
are translated here and nowhere else.
"""

from mnasnet.settings.infer import InferSettings
from mnasnet.settings.model import Parameter, Settings, markdown_old_names, markdown_table, setting
from mnasnet.settings.search import SearchSettings
from mnasnet.settings.train import TrainSettings

__all__ = [
    "InferSettings",
    "Parameter",
    "SearchSettings",
    "Settings",
    "TrainSettings",
    "markdown_old_names",
    "markdown_table",
    "setting",
]
