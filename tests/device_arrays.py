"""NumPy as if its arrays were on a device: what CuPy refuses, mixing with the host, raises here.

Arrays made by the module `xp` are `DeviceArray`s, and so is all that comes out of them. An array of
the host may enter through `xp.array` and `xp.asarray` alone; numbers leave through `get`, `float`,
`int` and `bool`.
"""

from types import SimpleNamespace

import numpy as np


class DeviceArray(np.ndarray):
    """An array that does not mix with those of the host."""

    def get(self):
        return np.array(self).view(np.ndarray)

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **options):
        _refuse_host(ufunc.__name__, inputs)
        if out is not None:
            options["out"] = tuple(_plain(array) for array in out)
        result = getattr(ufunc, method)(*(_plain(array) for array in inputs), **options)
        return out[0] if out is not None else _on_device(result)

    def __array_function__(self, function, types, arguments, options):
        _refuse_host(function.__name__, arguments)
        return _on_device(function(*_plain(arguments), **options))

    def __getitem__(self, index):
        _refuse_host("an index", index if isinstance(index, tuple) else (index,))
        return _on_device(super().__getitem__(index))

    def __setitem__(self, index, value):
        _refuse_host("an index", index if isinstance(index, tuple) else (index,))
        _refuse_host("an assignment", (value,))
        super().__setitem__(index, value)


def _plain(value):
    if isinstance(value, list | tuple):
        return type(value)(map(_plain, value))
    return value.view(np.ndarray) if isinstance(value, DeviceArray) else value


def _on_device(value):
    if isinstance(value, tuple):
        return tuple(_on_device(part) for part in value)
    if isinstance(value, np.ndarray | np.generic):
        return np.asarray(value).view(DeviceArray)
    return value


def _refuse_host(where, values):
    for value in values:
        if isinstance(value, list | tuple):
            _refuse_host(where, value)
        elif isinstance(value, np.ndarray) and not isinstance(value, DeviceArray):
            raise TypeError(f"{where}: an array of the host among those of the device")


class DeviceModule:
    """Stands for the module cupy."""

    cuda = SimpleNamespace(
        get_current_stream=lambda: SimpleNamespace(ptr=0),
        Stream=lambda non_blocking: SimpleNamespace(ptr=1),
        runtime=SimpleNamespace(memGetInfo=lambda: (8 << 30, 8 << 30)),
    )

    def __init__(self, module=np):
        self._module = module

    @property
    def linalg(self):
        return DeviceModule(np.linalg)

    @staticmethod
    def get_default_memory_pool():
        return SimpleNamespace(free_bytes=lambda: 0)

    def __getattr__(self, name):
        function = getattr(self._module, name)
        if not callable(function) or isinstance(function, type):
            return function

        def call(*arguments, **options):
            if name not in ("array", "asarray"):
                _refuse_host(name, [*arguments, *options.values()])
            options = {key: _plain(value) for key, value in options.items()}
            return _on_device(function(*_plain(arguments), **options))

        return call


xp = DeviceModule()


class OnHost:
    """Operations whose arguments and results are NumPy arrays, wherever they run."""

    def __init__(self, operations):
        self._operations = operations

    def __getattr__(self, name):
        def call(*arguments):
            def to_device(value):
                if isinstance(value, np.ndarray):
                    return self._operations.device.asarray(value, value.dtype)
                return value

            return self._operations.device.to_numpy(
                getattr(self._operations, name)(*(to_device(value) for value in arguments))
            )

        return call
