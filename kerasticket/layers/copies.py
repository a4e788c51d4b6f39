"""A built layer or model once more, object by object: what no config tells is in the copy as well.

Keras' own way leads through configs, which know nothing of vocabularies, of flags, of functions that are not
registered, and of what users put on a layer. Here every object that belongs to the model is copied, and what can't be
(functions, tables, locks) is shared.
"""

import collections
import copy
import enum
import functools
import types
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

import keras
import numpy as np

from kerasticket.backend import keras_internals
from kerasticket.backend.keras_internals import all_layers
from kerasticket.layers import constraints
from kerasticket.layers.masked import Masked

Copied = TypeVar("Copied", bound=keras.Layer)

_SHARED = (type, types.FunctionType, types.BuiltinFunctionType, types.ModuleType, enum.Enum, np.dtype, np.generic)


def duplicate(original: Copied) -> Copied:
    """A copy of a built layer or model with its weights, flags, attributes and functions; not compiled.

    Variables, arrays, lists, dicts and objects of Python classes are copied, a shared one once. Shared with the
    original are functions (new only where they close over a layer in the model), and objects that own something
    outside Python, such as lookup tables, of which a layer makes new ones when it is adapted.
    """
    copier = _Copier(original)
    twin = copier.of(original)
    copier.finish()
    for layer in all_layers(twin):
        keras_internals.clear_losses(layer)
        for one in layer.held if isinstance(layer, Masked) else ():
            constraints.hold_again(one.variable, one.mask)
    return twin


class _Copier:
    """Copies objects shell by shell: a shell is filled when its turn comes, so that no graph is too deep."""

    def __init__(self, original: keras.Layer) -> None:
        self.memo: dict[int, tuple[Any, Any]] = {}  # id -> (original, copy): the original lives on, so ids stay its own
        self.unfilled: collections.deque[Callable[[], None]] = collections.deque()
        self.members = {id(layer) for layer in all_layers(original)}
        self.functions: list[keras.Function] = []

    def of(self, value: Any) -> Any:
        if value is None or isinstance(value, (bool, int, float, complex, str, bytes)):
            return value
        if id(value) not in self.memo:
            self.memo[id(value)] = value, None  # a tuple that holds itself would come back here
            self.memo[id(value)] = value, self._begun(value)
        return self.memo[id(value)][1]

    def finish(self) -> None:
        while self.unfilled:
            self.unfilled.popleft()()
        self._connect()
        for original, twin in list(self.memo.values()):
            keras_internals.copy_tracked_ids(original, twin, self._new_id)

    def _new_id(self, number: int) -> int | None:
        return id(self.memo[number][1]) if number in self.memo else None

    def _begun(self, value: Any) -> Any:
        """The copy, perhaps still empty."""
        if isinstance(value, types.FunctionType):
            return self._function(value)
        if isinstance(value, types.MethodType):
            return types.MethodType(self.of(value.__func__), self.of(value.__self__))
        if isinstance(value, functools.partial):
            keywords = {key: self.of(x) for key, x in value.keywords.items()}
            return type(value)(self.of(value.func), *map(self.of, value.args), **keywords)
        if isinstance(value, weakref.ReferenceType):
            return weakref.ref(self.of(value())) if value() is not None else value
        if isinstance(value, _SHARED):
            return value
        if issubclass(type(value), (tuple, frozenset)):  # by type: TensorFlow has wrappers that say they are such
            return self._fixed(value)
        if issubclass(type(value), (list, dict, set, collections.deque)):
            return self._container(value)
        return self._object(value)

    def _function(self, function: types.FunctionType) -> types.FunctionType:
        """The function itself unless it closes over a layer in the model, as Keras' wrapper of `build` does."""
        cells = [cell.cell_contents if _is_full(cell) else None for cell in function.__closure__ or ()]
        if not any(self._belongs(x) for x in cells):
            return function
        closure = tuple(
            types.CellType(self.of(x)) if self._belongs(x) else cell
            for x, cell in zip(cells, function.__closure__ or (), strict=True)
        )
        twin = types.FunctionType(
            function.__code__, function.__globals__, function.__name__, function.__defaults__, closure
        )
        twin.__kwdefaults__, twin.__qualname__ = function.__kwdefaults__, function.__qualname__
        self.unfilled.append(lambda: vars(twin).update({k: self.of(x) for k, x in vars(function).items()}))
        return twin

    def _belongs(self, value: Any) -> bool:
        owner = value.__self__ if isinstance(value, types.MethodType) else value
        known = id(owner) in self.members or id(owner) in self.memo
        return known and isinstance(owner, (keras.Layer, keras.Variable))

    def _fixed(self, value: tuple | frozenset) -> Any:
        items = [self.of(x) for x in value]
        if all(a is b for a, b in zip(value, items, strict=True)):
            return value
        return value._make(items) if hasattr(value, "_make") else type(value)(items)

    def _container(self, value: Any) -> Any:
        base = next(kind for kind in (list, dict, set, collections.deque) if isinstance(value, kind))
        if isinstance(value, collections.defaultdict):
            twin: Any = type(value)(value.default_factory)
        elif base is collections.deque:
            twin = type(value)(maxlen=value.maxlen)
        else:
            twin = base.__new__(type(value))
        self.unfilled.append(lambda: self._fill_container(value, twin))
        return twin

    def _fill_container(self, value: Any, twin: Any) -> None:
        # By the methods of the base: those of Keras' tracked containers would note every item once more.
        if isinstance(value, dict):
            put = collections.OrderedDict if isinstance(value, collections.OrderedDict) else dict
            for key, item in value.items():
                put.__setitem__(twin, self.of(key), self.of(item))
        elif isinstance(value, list):
            list.extend(twin, map(self.of, list(value)))
        else:
            (set.update if isinstance(value, set) else collections.deque.extend)(twin, [self.of(x) for x in value])
        vars(twin).update(self._attributes(value)) if hasattr(value, "__dict__") else None

    def _object(self, value: Any) -> Any:
        kind = type(value)
        if hasattr(kind, "get_concrete_function"):  # traced by TensorFlow, with the variables that it met
            return value
        if hasattr(kind, "experimental_distribute_dataset"):  # a strategy of TensorFlow's, which knows itself by `is`
            return value
        if isinstance(value, (keras.KerasTensor, keras.Variable)) or _is_of_python(kind):
            twin = object.__new__(kind)
            self.unfilled.append(lambda: self._fill(value, twin))
            if isinstance(value, keras.Function):
                self.functions.append(value)
            return twin
        try:
            shared = not hasattr(kind, "__deepcopy__") and (hasattr(kind, "__del__") or _is_value(kind))
            return value if shared else copy.deepcopy(value)
        except Exception:  # whatever it raises: what cannot be copied is shared
            return value

    def _fill(self, value: Any, twin: Any) -> None:
        for kind in type(value).__mro__:
            for name in _slots(kind):
                if hasattr(value, name):
                    object.__setattr__(twin, name, self.of(getattr(value, name)))
        if hasattr(value, "__dict__"):
            twin.__dict__.update(self._attributes(value))

    def _attributes(self, value: Any) -> dict[str, Any]:
        return {name: self.of(x) for name, x in keras_internals.attributes_to_copy(value).items()}

    def _connect(self) -> None:
        """Gives every operation the calls that are in the copied graphs, in their order."""
        ours = {id(call) for function in self.functions for call in keras_internals.graph_calls(function)}
        calls = [twin for original, twin in self.memo.values() if id(original) in ours]
        for original, twin in list(self.memo.values()):
            if isinstance(original, keras.Operation):
                keras_internals.copy_calls(original, twin, self.of, ours)
        for call in calls:
            keras_internals.number_call(call)
        for function in self.functions:
            keras_internals.number_graph(self.of(function))


def _is_full(cell: types.CellType) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:  # a variable that its function deletes or has not set
        return False


def _is_of_python(kind: type) -> bool:
    """True for classes written in Python, unless they are copied in their own way or have something to close."""
    bases = [one for one in kind.__mro__ if one is not object]
    written = all(one.__flags__ & (1 << 9) for one in bases)  # Py_TPFLAGS_HEAPTYPE
    written = written and not any(isinstance(vars(one).get("__new__"), types.BuiltinFunctionType) for one in bases)
    return written and not hasattr(kind, "__deepcopy__") and not hasattr(kind, "__del__") and not _is_value(kind)


def _is_value(kind: type) -> bool:
    """True for classes that hash by what they hold, which then does not change, and must be there before they do."""
    own: Any = kind.__hash__
    return own is not None and own is not object.__hash__


def _slots(kind: type) -> list[str]:
    names = vars(kind).get("__slots__", ())
    names = [names] if isinstance(names, str) else names
    mangled = [f"_{kind.__name__.lstrip('_')}{n}" if n.startswith("__") and not n.endswith("__") else n for n in names]
    return [name for name in mangled if name not in ("__dict__", "__weakref__")]
