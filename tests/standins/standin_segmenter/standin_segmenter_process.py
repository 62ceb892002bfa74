"""A real instance segmentation task of Ikomia without a network."""

import numpy as np
from ikomia import dataprocess

BOXES = (10, 20, 60, 70), (200, 100, 90, 80)


class StandinSegmenter(dataprocess.CInstanceSegmentationTask):
    """Each mask is two pieces, one of them with a hole, and reaches a pixel over its box."""

    def __init__(self, name):
        dataprocess.CInstanceSegmentationTask.__init__(self, name)

    def run(self):
        self.begin_task_run()
        self.set_names(["thing"])
        for index, (x, y, width, height) in enumerate(BOXES):
            mask = np.zeros(self.get_input(0).get_image().shape[:2], np.uint8)
            mask[y - 1 : y + height, x : x + width + 1] = 1
            mask[y + height // 2] = 0
            mask[y + 8 : y + 18, x + 8 : x + 18] = 0
            self.add_object(index, 0, 0, 0.9, *map(float, (x, y, width, height)), mask)
        self.end_task_run()


class StandinSegmenterFactory(dataprocess.CTaskFactory):
    def __init__(self):
        dataprocess.CTaskFactory.__init__(self)
        self.info.name = "standin_segmenter"

    def create(self, param=None):
        return StandinSegmenter(self.info.name)
