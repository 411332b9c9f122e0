from typing import Self

from ioring._core.text import TextFile
from ioring.aiofiles.base import AsyncBase
from ioring.standard import Standard

class AsyncTextIOWrapper(TextFile):
    @property
    def _file(self) -> Self: ...

class AsyncWrappedText(AsyncBase): ...

AsyncTextIndirectIOWrapper = Standard
