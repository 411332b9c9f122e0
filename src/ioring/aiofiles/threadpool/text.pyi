from typing import Self

from ioring.aiofiles.base import AsyncBase
from ioring.files._text import TextFile
from ioring.files.standard_streams import Standard

class AsyncTextIOWrapper(TextFile):
    @property
    def _file(self) -> Self: ...

class AsyncWrappedText(AsyncBase): ...

AsyncTextIndirectIOWrapper = Standard
