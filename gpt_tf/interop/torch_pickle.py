"""The pickle of `torch.save`, followed without being run.

A pickle is a program whose instructions may call anything. `pickletools.genops` parses them and
never runs them, and the few that a dict of tensors needs are followed here. The only calls
understood are those that make a tensor, a parameter and an ordered dict, and those are plain data
here: every other name or instruction ends the reading.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from typing import Any, NamedTuple

from gpt_tf.storage.tensors import Shape

STORAGES = {
    "DoubleStorage": "F64", "FloatStorage": "F32", "HalfStorage": "F16", "BFloat16Storage": "BF16",
    "LongStorage": "I64", "IntStorage": "I32", "ByteStorage": "U8", "BoolStorage": "BOOL",
}  # fmt: skip
MARK = object()


class Storage(NamedTuple):
    """The flat values that a tensor looks at: where they are, their type and their number."""

    key: str
    dtype: str
    items: int


class View(NamedTuple):
    """A tensor: the item (i, j, …) is `storage[offset + i * strides[0] + j * strides[1] + …]`."""

    storage: Storage
    offset: int
    shape: Shape
    strides: tuple[int, ...]


class RefusedError(Exception):
    """What is in the pickle is not a dict of tensors."""


def follow(data: bytes) -> dict[str, View]:
    """The dict of tensors that a pickle describes. Raises RefusedError for anything else."""
    machine = _Machine()
    try:
        for instruction, argument, _ in pickletools.genops(data):
            if instruction.name == "STOP":
                break
            step = _STEPS.get(instruction.name)
            if step is None:
                raise RefusedError(f"the instruction {instruction.name} in its pickle")
            step(machine, argument)
        (value,) = machine.stack
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise RefusedError(f"its pickle does not parse ({error!r})") from error
    value = {name: each for name, each in _as_dict(value).items() if name != "_metadata"}
    for name, each in value.items():
        if not isinstance(each, View):
            raise RefusedError(f"the entry {name!r} is not a tensor")
    return value


class _Machine:
    """The stack and the memo that a pickle's instructions work on; values are plain data."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def since_mark(self) -> list[Any]:
        """Take off what came after the last mark, and the mark."""
        place = len(self.stack) - 1
        while self.stack[place] is not MARK:  # an IndexError if there is none
            place -= 1
        taken = self.stack[place + 1 :]
        del self.stack[place:]
        return taken

    def take(self, count: int) -> tuple[Any, ...]:
        """Take off the uppermost `count` values, the oldest first."""
        if len(self.stack) < count:
            raise IndexError("the stack is empty")
        taken = tuple(self.stack[len(self.stack) - count :])
        del self.stack[len(self.stack) - count :]
        return taken

    def set_items(self, values: list[Any] | tuple[Any, ...]) -> None:
        if not all(isinstance(key, str) for key in values[::2]):
            raise RefusedError("a dict with keys that are not names in its pickle")
        _as_dict(self.stack[-1]).update(zip(values[::2], values[1::2], strict=True))

    def build(self) -> None:
        """Attributes of an ordered dict, `_metadata` of a state dict, are left out."""
        state = self.take(1)[0]
        if not isinstance(self.stack[-1], dict) or not isinstance(state, dict):
            raise RefusedError("an object with a state in its pickle")

    def reduce(self) -> None:
        function, arguments = self.take(2)
        if not isinstance(function, _Name) or function.text not in _CALLS:
            raise RefusedError("a call in its pickle")
        self.push(_CALLS[function.text](*arguments))


class _Name(NamedTuple):
    """A global that the pickle names: data, nothing is imported."""

    text: str


def _as_dict(value: Any) -> dict[Any, Any]:
    if not isinstance(value, dict):
        raise RefusedError(f"{type(value).__name__} instead of a dict of tensors")
    return value


def _global(machine: _Machine, argument: str) -> None:
    module, _, name = argument.partition(" ")
    text = f"{module}.{name}"
    if text not in _CALLS and not (module == "torch" and name in STORAGES):
        raise RefusedError(f"the name {text!r} in its pickle: code?")
    machine.push(_Name(text))


def _persistent(machine: _Machine) -> None:
    kind, storage_type, key, _, items = machine.take(1)[0]
    _whole(items)
    plain = isinstance(key, str) and key.isalnum()
    if kind != "storage" or not isinstance(storage_type, _Name) or not plain:
        raise RefusedError("an object of another kind in its pickle")
    machine.push(Storage(key, STORAGES[storage_type.text.removeprefix("torch.")], items))


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> View:
    if not isinstance(storage, Storage) or len(shape) != len(strides):
        raise RefusedError("a tensor without a storage in its pickle")
    _whole(offset, *shape, *strides)
    return View(storage, offset, tuple(shape), tuple(strides))


def _whole(*numbers: Any) -> None:
    if any(type(number) is not int or not 0 <= number < 2**48 for number in numbers):
        raise RefusedError("sizes that are none in its pickle")


def _parameter(view: Any, *_: Any) -> Any:
    return view


def _ordered_dict(*arguments: Any) -> dict[Any, Any]:
    if arguments:
        raise RefusedError("an ordered dict with arguments in its pickle")
    return {}


_CALLS: dict[str, Callable[..., Any]] = {
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "collections.OrderedDict": _ordered_dict,
}


def _put(machine: _Machine, index: int) -> None:
    machine.memo[index] = machine.stack[-1]


def _get(machine: _Machine, index: int) -> None:
    machine.push(machine.memo[index])


_constant = _Machine.push
_STEPS: dict[str, Callable[[_Machine, Any], None]] = {
    "PROTO": lambda machine, _: None,
    "FRAME": lambda machine, _: None,
    **dict.fromkeys(
        ("BINUNICODE", "SHORT_BINUNICODE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"),
        _constant,
    ),
    "NONE": lambda machine, _: machine.push(None),
    "NEWTRUE": lambda machine, _: machine.push(True),
    "NEWFALSE": lambda machine, _: machine.push(False),
    "MARK": lambda machine, _: machine.push(MARK),
    "EMPTY_DICT": lambda machine, _: machine.push({}),
    "EMPTY_TUPLE": lambda machine, _: machine.push(()),
    "TUPLE": lambda machine, _: machine.push(tuple(machine.since_mark())),
    "TUPLE1": lambda machine, _: machine.push(machine.take(1)),
    "TUPLE2": lambda machine, _: machine.push(machine.take(2)),
    "TUPLE3": lambda machine, _: machine.push(machine.take(3)),
    "SETITEM": lambda machine, _: machine.set_items(machine.take(2)),
    "SETITEMS": lambda machine, _: machine.set_items(machine.since_mark()),
    "BINPUT": _put,
    "LONG_BINPUT": _put,
    "MEMOIZE": lambda machine, _: _put(machine, len(machine.memo)),
    "BINGET": _get,
    "LONG_BINGET": _get,
    "GLOBAL": _global,
    "BINPERSID": lambda machine, _: _persistent(machine),
    "REDUCE": lambda machine, _: machine.reduce(),
    "BUILD": lambda machine, _: machine.build(),
}
