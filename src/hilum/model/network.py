"""The network of a classifier, run by OpenVINO: grey levels in; scores, maps and embedding out.

OpenVINO uses both cores and picks bfloat16 where the processor has it (Intel's and AMD's AVX-512
BF16 or AMX); a network is compiled in about 0.1 s, so nothing is cached on disk.
"""

import sys
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hilum.errors import ModelError

__all__ = ["BATCH", "Network"]

# Sixteen radiographs keep two cores busy; larger batches were no faster (see benchmarks/).
BATCH = 16


class Network:
    """A compiled network that reads square grey radiographs.

    A classifier's outputs, all float32, are `scores` (n, labels), raw; `embedding` (n, channels); and,
    where the network ends in a mean over places, `maps` (n, labels, h, w), whose mean is the score. A frozen base
    has `features` (n, channels, h, w) alone.

    Args:
        onnx: Bytes of an ONNX network with the input `pixels` (n, 1, size, size), uint8.
        latency: Compile for one radiograph at a time instead of for many.

    Raises:
        ModelError: If OpenVINO cannot load it or its input is another.
    """

    def __init__(self, onnx: bytes, *, latency: bool = False) -> None:
        ov = _openvino()
        _check_self_contained(onnx)
        hint = "LATENCY" if latency else "THROUGHPUT"
        core = ov.Core()
        try:
            model = core.read_model(onnx)
            self._compiled = core.compile_model(model, "CPU", {"PERFORMANCE_HINT": hint})
            shape = model.input("pixels").get_partial_shape()
            self.size = int(shape[2].get_length())
            self.outputs = {
                name: index for index, out in enumerate(model.outputs) for name in out.get_names()
            }
        except RuntimeError as error:
            raise ModelError("the network cannot be loaded by OpenVINO; it may be damaged") from (
                error
            )

    @property
    def precision(self) -> str:
        """The arithmetic in use, such as "bf16" or "f32"; it moves probabilities slightly."""
        return str(self._compiled.get_property("INFERENCE_PRECISION_HINT").to_string())

    def run(self, pixels: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        """Run one batch; threads may call this at the same time.

        Args:
            pixels: Shape (n, size, size), uint8, display polarity.

        Returns:
            The outputs by name.
        """
        request = self._compiled.create_infer_request()
        request.infer({"pixels": pixels[:, None]})
        return {
            name: np.array(request.get_output_tensor(index).data)
            for name, index in self.outputs.items()
        }

    def stream(
        self, batches: Iterable[NDArray[np.uint8]], name: str
    ) -> Iterator[NDArray[np.float32]]:
        """Run many batches, several at a time, and give one output of each in order.

        Args:
            batches: Each of shape (n, size, size), uint8.
            name: The output wanted.
        """
        # Requests are waited for in turn instead of by callback: a callback needs the interpreter
        # lock in OpenVINO's own thread, which can lock up when the queue is torn down.
        count = int(self._compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))
        index = self.outputs[name]
        running: deque[Any] = deque()
        idle = [self._compiled.create_infer_request() for _ in range(count)]

        def finished() -> NDArray[np.float32]:
            request = running.popleft()
            request.wait()
            output = np.array(request.get_output_tensor(index).data)
            idle.append(request)
            return output

        for pixels in batches:
            if not idle:
                yield finished()
            request = idle.pop()
            request.start_async({"pixels": pixels[:, None]})
            running.append(request)
        while running:
            yield finished()


def _openvino() -> Any:
    """Import OpenVINO without its telemetry.

    Importing it reports to a web analytics service where the package `openvino_telemetry` is
    found; where it is not, OpenVINO goes on in silence. Nothing may leave a machine with patients'
    radiographs unless its user sends it.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino


def _check_self_contained(onnx: bytes) -> None:
    """Refuse a network that is no ONNX, or that points to data in other files.

    OpenVINO would load another format, and would follow ONNX's external data to any file of the
    machine. An ONNX model begins with its version (field 1, a varint); external data must name the
    key `location`, whose bytes occur in no other place of a network that hilum writes.
    """
    if not onnx.startswith(b"\x08"):
        raise ModelError("the network is no ONNX; get the file again")
    if b"location" in onnx:
        raise ModelError("the network points to data outside its file; do not use it")
