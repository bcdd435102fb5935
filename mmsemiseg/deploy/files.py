"""Writes a network as ONNX or TorchScript, and reads it back to run it."""

import importlib.util
import inspect
import json
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..engine.checkpoints import atomic_write
from .image_network import ImageNetwork

PACKAGES = ('onnx', 'onnxruntime')
AXES = dict(
    image={1: 'height', 2: 'width'},
    tensor={2: 'height', 3: 'width'},
    classes={1: 'height', 2: 'width'},
    logits={2: 'height', 3: 'width'},
)


class Graph(NamedTuple):
    """A written network.

    Attributes:
        path: Path of the file.
        runtime: Name of what runs it.
        run: Runs the file on an input, which must be contiguous.
    """

    path: Path
    runtime: str
    run: Callable[[Tensor], np.ndarray]


def require_packages() -> None:
    """Raise ImportError unless ONNX can be written and run."""
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise ImportError(
            f'--onnx needs {" and ".join(missing)}: pip install -e ".[export]"'
        )


def write_torchscript(
    network: ImageNetwork, example: Tensor, path: str | Path, about: Mapping
) -> Graph:
    """Trace the network; what it is, is in the file as ``about.json``.

    Raises:
        ValueError: The network cannot be traced.
    """
    with _explained('TorchScript', network), torch.no_grad():
        traced = torch.jit.trace(network, example, check_trace=False)
    files = {'about.json': json.dumps(about)}
    with atomic_write(path) as part:
        torch.jit.save(traced, part, _extra_files=files)
    loaded = torch.jit.load(str(path)).eval()

    @torch.no_grad()
    def run(images: Tensor) -> np.ndarray:
        return loaded(images).numpy()

    return Graph(Path(path), 'TorchScript', run)


def write_onnx(
    network: ImageNetwork,
    example: Tensor,
    path: str | Path,
    about: Mapping,
    opset: int = 17,
) -> Graph:
    """Write the network as ONNX; what it is, is in the file's metadata.

    Raises:
        ImportError: ONNX or ONNX Runtime is not installed.
        ValueError: The network has an operation that ONNX has not.
    """
    require_packages()
    import onnx
    import onnxruntime

    source = 'tensor' if network.prepare is None else 'image'
    names = source, network.outputs
    settings = dict(dynamic_axes={name: AXES[name] for name in names})
    if not network.any_size:
        settings = {}
    if 'dynamo' in inspect.signature(torch.onnx.export).parameters:
        settings['dynamo'] = False
    with atomic_write(path) as part:
        with _explained('ONNX', network), torch.no_grad():
            torch.onnx.export(
                network,
                (example,),
                str(part),
                input_names=names[:1],
                output_names=names[1:],
                opset_version=opset,
                **settings,
            )
        model = onnx.load(str(part))
        onnx.checker.check_model(model)
        onnx.helper.set_model_props(
            model, {key: json.dumps(value) for key, value in about.items()}
        )
        onnx.save(model, str(part))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(
        str(path), options, providers=['CPUExecutionProvider']
    )

    def run(images: Tensor) -> np.ndarray:
        return session.run(None, {source: images.numpy()})[0]

    return Graph(Path(path), 'onnxruntime', run)


class _explained:
    """Silence what a tracer says of constants; name the network in an error."""

    def __init__(self, kind: str, network: ImageNetwork) -> None:
        head = getattr(network.segmentor, 'decode_head', None)
        self.kind, self.head = kind, type(head).__name__
        self.quiet = warnings.catch_warnings()

    def __enter__(self) -> None:
        self.quiet.__enter__()
        warnings.simplefilter('ignore')

    def __exit__(self, kind, error, trace) -> None:
        self.quiet.__exit__(kind, error, trace)
        if isinstance(error, (RuntimeError, TypeError, ValueError)):
            reason = str(error).strip().splitlines() or [type(error).__name__]
            raise ValueError(
                f'this network ({self.head}) cannot be written as {self.kind}: '
                f'{reason[0]}'
            ) from error
