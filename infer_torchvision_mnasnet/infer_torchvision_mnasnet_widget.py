"""The STUDIO form of the inference task, made from its settings."""

from ikomia import dataprocess

from infer_torchvision_mnasnet.infer_torchvision_mnasnet_process import NAME, InferTorchvisionMnasnetParam
from mnasnet.plugin.widget import SettingsWidget


class InferTorchvisionMnasnetWidgetFactory(dataprocess.CWidgetFactory):
    def __init__(self):
        dataprocess.CWidgetFactory.__init__(self)
        self.name = NAME

    def create(self, param):
        return SettingsWidget(InferTorchvisionMnasnetParam() if param is None else param, None)
