from collections.abc import Callable
from typing import TypeVar

from ioring.aiofiles.base import in_executor as delegate_to_executor

__all__ = ["cond_delegate_to_executor", "delegate_to_executor", "proxy_method_directly", "proxy_property_directly"]

_C = TypeVar("_C", bound=type)

def proxy_method_directly(*names: str) -> Callable[[_C], _C]: ...
def proxy_property_directly(*names: str) -> Callable[[_C], _C]: ...
def cond_delegate_to_executor(*names: str) -> Callable[[_C], _C]: ...
