"""What Ikomia finds in this plugin; everything else is imported only when asked for."""

from ikomia import dataprocess


class IkomiaPlugin(dataprocess.CPluginProcessInterface):
    """Names the factories of `infer_torchvision_mnasnet`."""

    def __init__(self):
        dataprocess.CPluginProcessInterface.__init__(self)

    def get_process_factory(self):
        from infer_torchvision_mnasnet.infer_torchvision_mnasnet_process import InferTorchvisionMnasnetFactory

        return InferTorchvisionMnasnetFactory()

    def get_param_factory(self):
        from infer_torchvision_mnasnet.infer_torchvision_mnasnet_process import InferTorchvisionMnasnetParamFactory

        return InferTorchvisionMnasnetParamFactory()

    def get_widget_factory(self):
        from infer_torchvision_mnasnet.infer_torchvision_mnasnet_widget import InferTorchvisionMnasnetWidgetFactory

        return InferTorchvisionMnasnetWidgetFactory()
