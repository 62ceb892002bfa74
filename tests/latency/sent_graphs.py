"""Graphs to send to an agent, and the job that comes with them."""

import numpy as np
from onnx import TensorProto, helper

from mnasnet.agent.measure import Job

RELU = helper.make_node("Relu", ["images"], ["scores"])


def graph_of(*nodes, constants=(), input_shape=("N", 64, 64, 3), opset=17):
    """An ONNX file around the given nodes, from ``images`` to ``scores``."""
    graph = helper.make_graph(
        list(nodes),
        "hostile",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, input_shape)],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, None)],
        initializer=list(constants),
    )
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("com.example", 1)]
    return helper.make_model(graph, ir_version=8, opset_imports=opsets)


def heavy():
    """A graph that takes far longer than any test when it runs a thousand times."""
    weights = helper.make_tensor("w", TensorProto.FLOAT, [64, 3, 7, 7], np.zeros(64 * 3 * 49, np.float32))
    return graph_of(
        helper.make_node("Conv", ["images", "w"], ["scores"], kernel_shape=[7, 7]),
        constants=[weights],
        input_shape=("N", 3, 512, 512),
    )


def asked_for(content, **options):
    job = {"runtime": "onnxruntime", "threads": 1, "batch": 1, "warmups": 0, "runs": 2, "memory_bytes": 1 << 30}
    return Job(**{**job, **options}, content_bytes=len(content))
