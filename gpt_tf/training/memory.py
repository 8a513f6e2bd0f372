"""How much memory training will take, from the graph of its step, before anything is computed.

The graph says every tensor's shape and who reads it: played through in the order of its
operations, with each tensor let go after its last reader, it gives the bytes alive at the worst
moment. TensorFlow takes more: regions that its allocator rounds up and cannot always fill again,
and what compiling takes. `benchmarks/memory.py` measures both, and by how much this is wrong.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable

import psutil
import tensorflow as tf

ALLOCATED = 1.35  # bytes taken for a byte alive
COMPILING = 420e6  # the step, the evaluation and the sample texts
SAME_BUFFER = {"Identity", "IdentityN", "Reshape", "ExpandDims", "Squeeze", "Bitcast",
               "StopGradient", "PreventGradient"}  # fmt: skip
IN_PLACE = {"AddN", "AddV2", "BiasAdd", "Cast", "Erf", "Exp", "Log", "Maximum", "Minimum", "Mul",
            "Neg", "RealDiv", "Relu", "Rsqrt", "SelectV2", "Softmax", "Sqrt", "Square", "Sub",
            "Tanh", "TensorScatterSub", "TensorScatterUpdate"}  # fmt: skip
ELSEWHERE = {"Const", "Placeholder", "ReadVariableOp"}  # counted where they are kept
BODIES = {"While": ("body",), "StatelessWhile": ("body",), "If": ("then_branch", "else_branch"),
          "StatelessIf": ("then_branch", "else_branch")}  # fmt: skip


def peak_memory(step_graph: tf.Graph) -> float:
    """Bytes that this process will take at most, once model and optimizer are built."""
    present = psutil.Process().memory_info().rss
    return float(present + COMPILING + ALLOCATED * peak_bytes(step_graph))


def peak_bytes(graph: tf.Graph) -> int:
    """Bytes of the tensors that are alive at once, at most, while `graph` is computed."""
    operations = graph.get_operations()
    readers = Counter(id(tensor) for op in operations for tensor in op.inputs)
    readers.update(id(tensor) for tensor in graph.outputs)
    buffers = _Buffers(readers)
    for op in operations:
        for index, tensor in enumerate(op.outputs):
            buffers.write(op, index, tensor)
        inner = [peak_bytes(body) for body in _bodies(graph, op)]
        buffers.note_peak(max(inner, default=0))
        buffers.release(op.inputs)
        buffers.drop_unread(op.outputs)
    return buffers.peak


class _Buffers:
    """Which buffer each tensor is in, how many reads it still awaits, and what is alive."""

    def __init__(self, readers: Counter[int]) -> None:
        self._readers = readers
        self._of: dict[int, int] = {}  # tensor -> the tensor whose buffer it has
        self._awaited: Counter[int] = Counter()
        self._alive: dict[int, int] = {}
        self._live = self.peak = 0

    def write(self, op: tf.Operation, index: int, tensor: tf.Tensor) -> None:
        """Give an output the buffer of an input where the operation does so, or a new one."""
        size = 0 if op.type in ELSEWHERE else _bytes(tensor)
        buffer = id(tensor)
        if op.type in SAME_BUFFER:
            buffer = self._of[id(op.inputs[index])]
        elif op.type in IN_PLACE:
            inputs = (self._of[id(given)] for given in op.inputs)
            free = (b for b in inputs if self._awaited[b] == 1 and self._alive.get(b) == size)
            buffer = next(free, buffer)
        if buffer == id(tensor) and size:
            self._alive[buffer] = size
            self._live += size
        self._of[id(tensor)] = buffer
        self._awaited[buffer] += self._readers[id(tensor)]

    def note_peak(self, inner: int) -> None:
        self.peak = max(self.peak, self._live + inner)

    def release(self, tensors: Iterable[tf.Tensor]) -> None:
        """Each was read once."""
        for tensor in tensors:
            self._awaited[self._of[id(tensor)]] -= 1
        self.drop_unread(tensors)

    def drop_unread(self, tensors: Iterable[tf.Tensor]) -> None:
        for tensor in tensors:
            buffer = self._of[id(tensor)]
            if self._awaited[buffer] == 0:
                self._live -= self._alive.pop(buffer, 0)


def _bytes(tensor: tf.Tensor) -> int:
    """0 where the shape is unknown, or the type is no number."""
    if None in (tensor.shape.rank, *(tensor.shape if tensor.shape.rank else ())):
        return 0
    return math.prod(tensor.shape) * (tensor.dtype.size or 0)


def _bodies(graph: tf.Graph, op: tf.Operation) -> list[tf.Graph]:
    """The graphs that an operation runs: of a loop, of the two branches of a condition."""
    names = [op.get_attr(name).name for name in BODIES.get(op.type, ())]
    return [graph._get_function(name).graph for name in names]  # no public way
