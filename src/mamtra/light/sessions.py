"""ONNX Runtime sessions over graphs and stored weights."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort

from mamtra.light import protobuf
from mamtra.light.graph import GraphBuilder
from mamtra.light.weights import StoredTensor
from mamtra.runtime.allocator import give_back


def session_options(threads: int) -> ort.SessionOptions:
    """Settings of all sessions."""
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 4  # errors are raised
    options.enable_mem_pattern = False  # one is kept for every shape there ever was, and makes nothing faster
    # threads that wait actively for one another crawl once other programs want the cores
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def open_session(graph: GraphBuilder, threads: int = 1) -> ort.InferenceSession:
    """A session of a graph that is finished, and used up by it; weights are read from where they are mapped.

    Args:
        graph: the graph.
        threads: of the session. Several share an operator, which most operators are too short for: two take twice the CPU time.
    """
    options = session_options(threads)
    options.enable_cpu_mem_arena = False  # it grows to the longest run and makes short ones no faster
    tensors = {name: _value(stored) for name, stored in graph.used.items()}
    options.add_external_initializers(list(tensors), list(tensors.values()))
    session = ort.InferenceSession(graph.finish(), options, providers=["CPUExecutionProvider"], enable_fallback=0)
    del options, tensors  # with the tensors that were made for the graph: kernels have copies
    graph.used.clear()
    graph.weights.let_go()
    give_back()
    return session


def _value(stored: StoredTensor) -> ort.OrtValue:
    """A stored tensor where it lies."""
    array = np.ascontiguousarray(stored.array)
    if stored.kind == protobuf.BFLOAT16:
        return ort.OrtValue.ortvalue_from_numpy_with_onnx_type(array, protobuf.BFLOAT16)
    return ort.OrtValue.ortvalue_from_numpy(array)
