"""The STUDIO form of the training task, made from its settings."""

from ikomia import dataprocess

from mnasnet.plugin.widget import SettingsWidget
from train_torchvision_mnasnet.train_torchvision_mnasnet_process import NAME, TrainTorchvisionMnasnetParam


class TrainTorchvisionMnasnetWidgetFactory(dataprocess.CWidgetFactory):
    def __init__(self):
        dataprocess.CWidgetFactory.__init__(self)
        self.name = NAME

    def create(self, param):
        return SettingsWidget(TrainTorchvisionMnasnetParam() if param is None else param, None)
