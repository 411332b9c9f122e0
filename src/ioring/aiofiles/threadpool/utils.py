"""Decorators for classes that hand calls on to a blocking file, ``_file``, as aiofiles has them."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from ioring.aiofiles.base import in_executor as delegate_to_executor

__all__ = ["cond_delegate_to_executor", "delegate_to_executor", "proxy_method_directly", "proxy_property_directly"]


_Class = TypeVar("_Class", bound=type)


def proxy_method_directly(*names: str) -> Callable[[_Class], _Class]:
    """Gives a class methods that call those of its ``_file`` there and then."""

    def add(cls: _Class) -> _Class:
        for name in names:
            setattr(cls, name, _direct_method(name))
        return cls

    return add


def proxy_property_directly(*names: str) -> Callable[[_Class], _Class]:
    """Gives a class properties that are those of its ``_file``."""

    def add(cls: _Class) -> _Class:
        for name in names:
            setattr(cls, name, _direct_property(name))
        return cls

    return add


def cond_delegate_to_executor(*names: str) -> Callable[[_Class], _Class]:
    """Gives a class methods that call those of its ``_file``, in the executor once that is rolled over."""

    def add(cls: _Class) -> _Class:
        waiting = delegate_to_executor(*names)(type("", (), {}))
        for name in names:
            setattr(cls, name, _conditional_method(name, getattr(waiting, name)))
        return cls

    return add


def _direct_property(name: str) -> property:
    def get(self: Any) -> Any:
        return getattr(self._file, name)

    return property(get)


def _direct_method(name: str) -> Callable[..., Any]:
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        return getattr(self._file, name)(*args, **kwargs)

    return method


def _conditional_method(name: str, waiting: Callable[..., Any]) -> Callable[..., Coroutine[Any, Any, Any]]:
    async def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        if self._file._rolled:
            return await waiting(self, *args, **kwargs)
        return getattr(self._file, name)(*args, **kwargs)

    return method
