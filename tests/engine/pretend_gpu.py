"""A GPU that is pretended: its values lie on the CPU, its rules are those of a GPU.

- Tensors of the GPU and of the CPU never meet in an operation, but for single numbers.
- Whoever looks at a value waits for the device, and so does whoever takes one there from the CPU,
  unless it is from memory that can be copied in the background (pinning is not pretended). Waits
  are kept in `waits`, with the places in the code they come from.
- While a graph is recorded nothing waits, and nothing comes from the CPU. A replay repeats the
  recorded operations on the recorded memory; no Python of what was recorded runs again.

Numbers of the pretended device are `OnGpu` tensors, made under `pretending()`. It takes torch's
hooks for devices written in Python, which are not a promise of torch, and does without its
inference mode, whose tensors cannot be wrapped: import it in a process of its own, before anything
that decorates functions.
"""

from __future__ import annotations

import contextlib
import copy
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

backend_registration._setup_privateuseone_for_python_backend("pretended")
torch.pretended.get_amp_supported_dtype = lambda: [torch.bfloat16]
GPU = torch.device("pretended:0")

_aten = torch.ops.aten
_INDEXING = (
    _aten.index.Tensor,
    _aten.index_put.default,
    _aten.index_put_.default,
    _aten._index_put_impl_.default,
)
_LOOKING = (
    _aten._local_scalar_dense.default,
    _aten.nonzero.default,
    _aten.masked_select.default,
    _aten.unique_consecutive.default,
    _aten._unique2.default,
    _aten.equal.default,
)

waits: list[str] = []  # what was waited for, and where
_tape: list[tuple[Callable[..., Any], Any, Any, Any]] | None = (
    None  # of the graph that is being recorded
)
_real_tensor = torch.tensor


class OnGpu(torch.Tensor):
    """A tensor of the pretended device; `inner` has its values."""

    inner: torch.Tensor

    @staticmethod
    def __new__(cls, inner: torch.Tensor) -> OnGpu:
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            inner.size(),
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=GPU,
        )
        made.inner = inner
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        return _run(func, args, kwargs or {})

    def __getitem__(self, key: Any) -> Any:
        return super().__getitem__(_listed(key))

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__(_listed(key), value)

    def tolist(self) -> Any:
        _wait("tolist")
        return self.inner.tolist()

    def numpy(self, *_: Any, **__: Any) -> Any:
        raise TypeError("a tensor of a GPU has no numpy array")

    __array__ = numpy


class _Mode(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        return _run(func, args, kwargs or {})


@contextlib.contextmanager
def pretending() -> Iterator[None]:
    """In this thread, what is asked for on `GPU` is made there."""
    with _Mode():
        yield


def moved(model: Any) -> Any:
    """A copy of a model on the pretended GPU. From here on `torch.tensor` can make its tensors
    there, too; load all models before, since transformers looks for the real one."""
    torch.tensor = _tensor  # type: ignore[assignment]
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    try:
        with pretending():
            twin = copy.deepcopy(model).to(GPU)
            twin.tie_weights()
            return twin
    finally:
        torch.__future__.set_overwrite_module_params_on_conversion(False)


class PretendedGraph:
    """Stands for `torch.cuda.CUDAGraph`, and holds what was recorded."""

    def __init__(self, function: Callable[[], Any]) -> None:
        global _tape
        function()
        _tape = []
        try:
            self.result = function()
            self._tape = _tape
        finally:
            _tape = None

    def replay(self) -> None:
        for func, args, kwargs, output in self._tape:
            again, before = tree_flatten(func(*args, **kwargs))[0], tree_flatten(output)[0]
            for value, place in zip(again, before, strict=True):
                if isinstance(place, torch.Tensor) and value.data_ptr() != place.data_ptr():
                    place.copy_(value)


def _run(func: Any, args: Any, kwargs: Any) -> Any:
    """One operation, under the rules of the module."""
    if torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), "CompositeImplicitAutograd"):
        with _Mode():
            made = func.decompose(*args, **kwargs)
        if made is not NotImplemented:
            return made
    given = [value for value in tree_flatten((args, kwargs))[0] if isinstance(value, torch.Tensor)]
    there = [value for value in given if isinstance(value, OnGpu)]
    here = [value for value in given if not isinstance(value, OnGpu)]
    device = kwargs.get("device")
    stays = bool(there) or _is_gpu(device)
    if func is _aten._to_copy.default and device is not None:
        stays = _is_gpu(device)
        if bool(there) != stays:
            _cross(func, waits_for_it=bool(there) or not kwargs.get("non_blocking"))
    elif func is _aten.copy_.default:
        stays = isinstance(args[0], OnGpu)
        if bool(there) and bool(here):
            _cross(func, waits_for_it=not stays or not (len(args) > 2 and args[2]))
    elif func in _INDEXING:
        _check_indices(func, args)
    elif there and any(value.dim() for value in here):
        raise RuntimeError(
            f"{func}: tensors of both devices: {[tuple(v.shape) for v in there]}, {here}"
        )
    if func in _LOOKING and there:
        _wait(str(func))
    if func is _aten.repeat_interleave.Tensor and there and kwargs.get("output_size") is None:
        _wait(str(func))
    inner_args = tree_map(_inner, args)
    inner_kwargs = {name: tree_map(_inner, value) for name, value in kwargs.items()}
    output = func(*inner_args, **inner_kwargs)
    if not stays or func is _aten._local_scalar_dense.default:
        return output
    if _tape is not None:
        _tape.append((func, inner_args, inner_kwargs, output))
    known = {
        id(value.inner): value for value in there
    }  # operations in place return what they were given

    def there_again(value: Any) -> Any:
        if not isinstance(value, torch.Tensor):
            return value
        return known[id(value)] if id(value) in known else OnGpu(value)

    return tree_map(there_again, output)


def _check_indices(func: Any, args: Any) -> None:
    indices = [index for index in args[1] if index is not None]
    on_gpu = isinstance(args[0], OnGpu) or any(isinstance(index, OnGpu) for index in indices)
    if on_gpu and any(not isinstance(index, OnGpu) and index.dim() for index in indices):
        _cross(func, waits_for_it=True)
    if any(
        isinstance(index, OnGpu) and index.dtype in (torch.bool, torch.uint8) for index in indices
    ):
        _wait(f"{func} by truth values")
    if any(isinstance(index, OnGpu) for index in indices) and not isinstance(args[0], OnGpu):
        raise RuntimeError(f"{func}: a tensor of the CPU, indices of the GPU")


def _cross(func: Any, *, waits_for_it: bool) -> None:
    """Something goes from one device to the other."""
    if _tape is not None:
        raise RuntimeError(f"{func} between CPU and GPU while a graph is recorded, at {_place()}")
    if waits_for_it:
        _wait(str(func))


def _wait(what: str) -> None:
    if _tape is not None:
        raise RuntimeError(f"{what} waits for the GPU while a graph is recorded, at {_place()}")
    waits.append(f"{what} at {_place()}")


def _place() -> str:
    """The innermost places outside torch and this file."""
    frames = [
        f
        for f in traceback.extract_stack()
        if "/torch/" not in f.filename and f.filename != __file__
    ]
    return " < ".join(f"{f.filename.rsplit('/', 1)[-1]}:{f.name}" for f in frames[:-4:-1])


def _inner(value: Any) -> Any:
    if isinstance(value, OnGpu):
        return value.inner
    return torch.device("cpu") if isinstance(value, torch.device) and _is_gpu(value) else value


def _is_gpu(device: Any) -> bool:
    return device is not None and torch.device(device).type == GPU.type


def _tensor(data: Any, *args: Any, device: Any = None, **options: Any) -> torch.Tensor:
    made = _real_tensor(data, *args, **options)
    return made if device is None else made.to(device)


def _listed(key: Any) -> Any:
    """Lists of indices as torch takes them to the device, which waits."""
    if isinstance(key, tuple):
        return tuple(map(_listed, key))
    return _real_tensor(key, dtype=torch.long).to(GPU) if isinstance(key, list) else key


torch.inference_mode = lambda mode=True: (
    torch.no_grad() if mode is True else contextlib.nullcontext()
)  # type: ignore
