"""What Ikomia finds in this plugin; everything else is imported only when asked for."""

from ikomia import dataprocess


class IkomiaPlugin(dataprocess.CPluginProcessInterface):
    """Names the factories of `search_mnasnet`."""

    def __init__(self):
        dataprocess.CPluginProcessInterface.__init__(self)

    def get_process_factory(self):
        from search_mnasnet.search_mnasnet_process import SearchMnasnetFactory

        return SearchMnasnetFactory()

    def get_param_factory(self):
        from search_mnasnet.search_mnasnet_process import SearchMnasnetParamFactory

        return SearchMnasnetParamFactory()

    def get_widget_factory(self):
        from search_mnasnet.search_mnasnet_widget import SearchMnasnetWidgetFactory

        return SearchMnasnetWidgetFactory()
