"""Decorators for classes that hand calls on to a blocking file, ``_file``, as aiofiles has them."""

from ioring.aiofiles.base import in_executor as delegate_to_executor

__all__ = ["cond_delegate_to_executor", "delegate_to_executor", "proxy_method_directly", "proxy_property_directly"]


def proxy_method_directly(*names):
    """Gives a class methods that call those of its ``_file`` there and then."""

    def add(cls):
        for name in names:
            setattr(cls, name, _direct_method(name))
        return cls

    return add


def proxy_property_directly(*names):
    """Gives a class properties that are those of its ``_file``."""

    def add(cls):
        for name in names:
            setattr(cls, name, property(lambda self, name=name: getattr(self._file, name)))
        return cls

    return add


def cond_delegate_to_executor(*names):
    """Gives a class methods that call those of its ``_file``, in the executor once that is rolled over."""

    def add(cls):
        waiting = delegate_to_executor(*names)(type("", (), {}))
        for name in names:
            setattr(cls, name, _conditional_method(name, getattr(waiting, name)))
        return cls

    return add


def _direct_method(name):
    def method(self, *args, **kwargs):
        return getattr(self._file, name)(*args, **kwargs)

    return method


def _conditional_method(name, waiting):
    async def method(self, *args, **kwargs):
        if self._file._rolled:
            return await waiting(self, *args, **kwargs)
        return getattr(self._file, name)(*args, **kwargs)

    return method
