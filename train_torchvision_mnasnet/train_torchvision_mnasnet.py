"""What Ikomia finds in this plugin; everything else is imported only when asked for."""

from ikomia import dataprocess


class IkomiaPlugin(dataprocess.CPluginProcessInterface):
    """Names the factories of `train_torchvision_mnasnet`."""

    def __init__(self):
        dataprocess.CPluginProcessInterface.__init__(self)

    def get_process_factory(self):
        from train_torchvision_mnasnet.train_torchvision_mnasnet_process import TrainTorchvisionMnasnetFactory

        return TrainTorchvisionMnasnetFactory()

    def get_param_factory(self):
        from train_torchvision_mnasnet.train_torchvision_mnasnet_process import TrainTorchvisionMnasnetParamFactory

        return TrainTorchvisionMnasnetParamFactory()

    def get_widget_factory(self):
        from train_torchvision_mnasnet.train_torchvision_mnasnet_widget import TrainTorchvisionMnasnetWidgetFactory

        return TrainTorchvisionMnasnetWidgetFactory()
