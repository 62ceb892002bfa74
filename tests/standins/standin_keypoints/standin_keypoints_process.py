"""A real keypoint task of Ikomia without a network."""

from ikomia import core, dataprocess


class StandinKeypoints(dataprocess.CKeypointDetectionTask):
    def __init__(self, name):
        dataprocess.CKeypointDetectionTask.__init__(self, name)

    def run(self):
        self.begin_task_run()
        self.set_object_names(["person"])
        self.set_keypoint_names(["nose", "eye", "ear"])
        self.set_keypoint_links([_link(1, 2), _link(2, 3)])
        points = [(1, core.CPointF(30.0, 30.0)), (2, core.CPointF(60.0, 70.0)), (3, core.CPointF(90.0, 80.0))]
        self.add_object(0, 0, 0.9, 10.0, 20.0, 100.0, 90.0, points)
        self.end_task_run()


def _link(start, end):
    link = dataprocess.CKeypointLink()
    link.start_point_index, link.end_point_index = start, end
    link.label, link.color = f"{start} to {end}", [255, 0, 0]
    return link


class StandinKeypointsFactory(dataprocess.CTaskFactory):
    def __init__(self):
        dataprocess.CTaskFactory.__init__(self)
        self.info.name = "standin_keypoints"

    def create(self, param=None):
        return StandinKeypoints(self.info.name)
