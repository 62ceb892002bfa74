"""The STUDIO form of the search task, made from its settings."""

from ikomia import dataprocess

from mnasnet.plugin.widget import SettingsWidget
from search_mnasnet.search_mnasnet_process import NAME, SearchMnasnetParam


class SearchMnasnetWidgetFactory(dataprocess.CWidgetFactory):
    def __init__(self):
        dataprocess.CWidgetFactory.__init__(self)
        self.name = NAME

    def create(self, param):
        return SettingsWidget(SearchMnasnetParam() if param is None else param, None)
