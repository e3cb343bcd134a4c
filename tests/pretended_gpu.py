"""A pretended GPU for tests without one: tensors on PyTorch's meta device, and a record of what a real GPU would do.

Tensors on the meta device have a shape, a dtype and a device, but no values. `PretendedGPU` sees each operation before
it is done. It raises `OnTwoDevices` where a tensor of the device meets one that was left on the CPU, notes where a real
GPU would be waited for (`waits`) and where a float64 is made (`doubles`), which neither MPS nor every XPU can do; and
where values are read, it gives made-up ones. It raises `NotOnMPS` at an operation that MPS lacks.
"""

import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import ganvas

META = torch.device("meta")
PACKAGE = str(Path(ganvas.__file__).parent)
aten: Any = torch.ops.aten

_READS = {aten._local_scalar_dense.default, aten.equal.default, aten.is_nonzero.default}
_SIZED_BY_VALUES = {
    aten.nonzero.default, aten.masked_select.default, aten._unique2.default, aten.bincount.default,
    aten.repeat_interleave.Tensor, aten.unique_dim.default, aten.unique_consecutive.default,
}  # fmt: skip
"""Operations whose result has a size, or a check, that depends on values: CUDA waits for them."""


_LIKE_THE_FIRST = {
    aten.leaky_relu.default, aten.leaky_relu_backward.default, aten.softplus.default, aten.softplus_backward.default,
    aten.relu.default, aten.threshold_backward.default, aten.gelu.default, aten.gelu_backward.default,
    aten.tanh.default, aten.tanh_backward.default, aten.sqrt.default, aten.rsqrt.default,
    aten.zeros_like.default, aten.ones_like.default, aten.randn_like.default,
}  # fmt: skip
_ELEMENTWISE = {aten.add.Tensor, aten.sub.Tensor, aten.mul.Tensor, aten.div.Tensor}
_SHAPES: dict[Any, Callable[..., Any]] = {
    aten.addmm.default: lambda _, a, b: a.new_empty(len(a), b.shape[1]),
    aten.mv.default: lambda a, _: a.new_empty(len(a)),
    aten.linalg_vector_norm.default: lambda x, _=2, *dims: NotImplemented if dims else x.new_empty(()),
    aten.grid_sampler_2d.default: lambda x, grid, *_: x.new_empty(*x.shape[:2], *grid.shape[1:3]),
    aten.native_batch_norm.default: lambda x, *_: (torch.empty_like(x), *x.new_empty(2, x.shape[1])),
    aten.native_batch_norm_backward.default: lambda x, *_: (torch.empty_like(x), *x.new_empty(2, x.shape[1])),
}
"""Frequent operations whose results are known at once; PyTorch's own way to their shapes takes milliseconds."""


_NOT_ON_MPS = {aten._linalg_eigh.default}
"""Operations of the package that have no implementation for MPS up to PyTorch 2.13."""


class NotOnMPS(AssertionError):
    """An operation that PyTorch cannot do on MPS."""


class OnTwoDevices(AssertionError):
    """An operation got a tensor of the GPU and one of the CPU, or a generator of the other device."""


class PretendedGPU(TorchDispatchMode):
    """Within the block, tensors on the meta device act as on a GPU.

    Args:
        truth: what every comparison and every boolean says that is read.

    Attributes:
        waits: where values were read, or copied from or to the device without `non_blocking`: "state.py:12 train: op".
        doubles: where a float64 tensor was made on the device, or computed with.
        operations: on tensors of the device.
    """

    def __init__(self, truth: bool = True) -> None:
        super().__init__()
        self.truth = truth
        self.waits: list[str] = []
        self.doubles: list[str] = []
        self.operations = 0
        self._random, self._depth = torch.Generator().manual_seed(0), 0

    def __enter__(self) -> "PretendedGPU":
        if self._depth == 0:
            self._tensor = torch.tensor
            torch.tensor = self._make_tensor
        self._depth += 1
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._depth -= 1
        if self._depth == 0:
            torch.tensor = self._tensor

    def _make_tensor(self, *args: Any, **kwargs: Any) -> Tensor:
        """torch.tensor, which no mode sees on the meta device; on a GPU it waits for its copy."""
        made = self._tensor(*args, **kwargs)
        if made.is_meta:
            self._wait("torch.tensor")
            self._check_doubles("torch.tensor", [made])
        return made

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if torch.is_inference_mode_enabled():  # there an operation is not split into its parts before a mode sees it
            with self:
                result = func.decompose(*args, **kwargs)
            if result is not NotImplemented:
                return result
        tensors = [*_tensors(args), *_tensors(kwargs.values())]
        there = [tensor for tensor in tensors if tensor.is_meta]
        if not there:
            result = func(*args, **kwargs)
            made = [*_tensors([result])]
            if any(tensor.is_meta for tensor in made):
                self._note_created(func, args, kwargs, tensors, made)
            return result
        self.operations += 1
        if func in _NOT_ON_MPS:
            raise NotOnMPS(f"{func} at {_place()}")
        if func in _READS:
            return self._read(func, there[0])
        if func is aten._to_copy.default and torch.device(kwargs.get("device") or META).type == "cpu":
            return self._copy_to_cpu(args[0], kwargs.get("dtype"), func)
        if func is aten.copy_.default:
            return self._copy(func, args, kwargs)
        if func in _SIZED_BY_VALUES:
            self._wait(func)
            return self._make_up(func, args, kwargs)
        if func in (aten.index.Tensor, aten.index_put.default, aten.index_put_.default):
            args = (args[0], self._without_masks(func, args[1]), *args[2:])
        self._check(func, tensors)
        result = self._known_shapes(func, args, kwargs, tensors)
        if result is NotImplemented:
            result = func(*args, **kwargs)
        self._check_doubles(func, [*_tensors([result])])
        return result

    def _known_shapes(self, func: Any, args: Any, kwargs: Any, tensors: list[Tensor]) -> Any:
        """The result of a frequent operation; NotImplemented for others."""
        first = args[0]
        if func in _LIKE_THE_FIRST:
            return torch.empty_like(first, **kwargs)
        if func in _ELEMENTWISE and first.is_floating_point() and first.dim() and first.is_meta:
            alike = (not one.dim() or (one.shape, one.dtype) == (first.shape, first.dtype) for one in tensors)
            return torch.empty_like(first) if all(alike) else NotImplemented
        if func in _SHAPES and not kwargs:
            return _SHAPES[func](*args)
        if func._schema.name.endswith("_") and first is not None:  # in place: of a tensor, or of a list of them
            return first if isinstance(first, Tensor) else None
        return NotImplemented

    def _check(self, func: Any, tensors: list[Tensor]) -> None:
        left = [list(tensor.shape) for tensor in tensors if not tensor.is_meta and tensor.dim()]
        if left:
            raise OnTwoDevices(f"{func} at {_place()} got tensors of the CPU {left} beside the device's")

    def _note_created(self, func: Any, args: Any, kwargs: Any, tensors: list[Tensor], made: list[Tensor]) -> None:
        """A factory, or a copy to the device."""
        if kwargs.get("generator") is not None:
            raise OnTwoDevices(f"{func} at {_place()} draws on the device with a generator of the CPU")
        if tensors and func is aten._to_copy.default and not kwargs.get("non_blocking"):
            self._wait(func)
        self._check_doubles(func, made)

    def _check_doubles(self, func: Any, made: list[Tensor]) -> None:
        if any(tensor.dtype is torch.float64 and tensor.is_meta for tensor in made):
            self.doubles.append(f"{_place()}: {func}")

    def _wait(self, func: Any) -> None:
        self.waits.append(f"{_place()}: {func}")

    def _read(self, func: Any, tensor: Tensor) -> Any:
        self._wait(func)
        if tensor.dtype == torch.bool or func is not aten._local_scalar_dense.default:
            return self.truth
        return 0.5 if tensor.is_floating_point() else 1

    def _values(self, like: Tensor, dtype: torch.dtype | None) -> Tensor:
        """Made-up ones: in (0, 1), or 0 and 1; 0 as an index, which is always there."""
        dtype = dtype or like.dtype
        values = torch.rand(like.shape, generator=self._random)
        return values.to(dtype) if dtype.is_floating_point else (2 * values * (dtype != torch.int64)).to(dtype)

    def _copy_to_cpu(self, tensor: Tensor, dtype: torch.dtype | None, func: Any) -> Tensor:
        self._wait(func)
        return self._values(tensor, dtype)

    def _copy(self, func: Any, args: Any, kwargs: Any) -> Tensor:
        """copy_(to, from, non_blocking)."""
        to, source = args[:2]
        if to.device != source.device and not (args[2] if len(args) > 2 else kwargs.get("non_blocking")):
            self._wait(func)
        if to.device.type == "cpu":
            return to.copy_(self._values(source, to.dtype).expand_as(to))
        return to

    def _without_masks(self, func: Any, indices: Any) -> list[Tensor | None]:
        """Indices without booleans, by which a GPU waits for the number of places: made up, one for each row."""
        found: list[Tensor | None] = []
        for index in indices:
            if index is not None and index.dtype in (torch.bool, torch.uint8) and index.device.type == "meta":
                self._wait(func)
                found += [torch.empty(len(index), dtype=torch.long, device=META)] * index.dim()
            else:
                found.append(index)
        return found

    def _make_up(self, func: Any, args: Any, kwargs: Any) -> Any:
        values = [self._values(arg, None) if isinstance(arg, Tensor) else arg for arg in args]
        made = func(*values, **kwargs)
        return tuple(one.to(META) for one in made) if isinstance(made, tuple) else made.to(META)


def _tensors(values: Iterable[Any]) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors(value)


def _place() -> str:
    """The innermost line of Ganvas that is being executed: "state.py:12 train_round"."""
    for frame, line in traceback.walk_stack(sys._getframe(1)):
        if frame.f_code.co_filename.startswith(PACKAGE):
            return f"{Path(frame.f_code.co_filename).name}:{line} {frame.f_code.co_name}"
    return "outside"
