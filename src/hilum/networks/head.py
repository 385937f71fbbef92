"""A linear head on a frozen base, joined into one ONNX network that also says where it looked.

With global average pooling, a linear layer commutes with the mean: applying it to every place of
the feature maps gives class activation maps (Zhou et al., CVPR 2016) whose mean is the score. The
joined network computes the maps and takes the scores from them, so a map adds up to its score.
"""

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

__all__ = ["join_linear_head"]


def join_linear_head(base: bytes, weights: NDArray[np.float64], bias: NDArray[np.float64]) -> bytes:
    """Join a linear head to a base network.

    Args:
        base: ONNX with input `pixels` (n, 1, size, size), uint8, and output `features`
            (n, channels, h, w), float32.
        weights: Of the linear layer, shape (labels, channels).
        bias: Shape (labels,).

    Returns:
        ONNX with the same input and the outputs `scores` (n, labels), `maps` (n, labels, h, w)
        whose mean over places is the score, and `embedding` (n, channels); all float32.

    Raises:
        ValueError: If the shapes do not fit.
    """
    model = onnx.load_model_from_string(base)
    graph = model.graph
    shape = [d.dim_value for d in graph.output[0].type.tensor_type.shape.dim]
    labels, channels = weights.shape
    if shape[1] != channels or bias.shape != (labels,):
        raise ValueError(f"a head of {weights.shape} does not fit features of {shape}")
    graph.initializer.extend(
        [
            numpy_helper.from_array(weights.astype(np.float32)[:, :, None, None], "head.weight"),
            numpy_helper.from_array(bias.astype(np.float32), "head.bias"),
            numpy_helper.from_array(np.array([2, 3], dtype=np.int64), "places"),
        ]
    )
    graph.node.extend(
        [
            helper.make_node("Conv", ["features", "head.weight", "head.bias"], ["maps"]),
            helper.make_node("ReduceMean", ["maps", "places"], ["scores"], keepdims=0),
            helper.make_node("ReduceMean", ["features", "places"], ["embedding"], keepdims=0),
        ]
    )
    del graph.output[:]
    graph.output.extend(
        [
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", labels]),
            helper.make_tensor_value_info("maps", TensorProto.FLOAT, ["n", labels, *shape[2:]]),
            helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", channels]),
        ]
    )
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))
