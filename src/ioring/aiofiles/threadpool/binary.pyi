from typing import Self

from ioring.aiofiles.base import AsyncBase
from ioring.files._buffered import BufferedFile
from ioring.files._raw import RawFile
from ioring.files.standard_streams import Standard

METHODS: tuple[str, ...]

class AsyncBufferedIOBase(BufferedFile):
    @property
    def _file(self) -> Self: ...

class AsyncBufferedReader(AsyncBufferedIOBase): ...

class AsyncFileIO(RawFile):
    @property
    def _file(self) -> Self: ...

class AsyncWrappedBinary(AsyncBase): ...

AsyncIndirectBufferedIOBase = Standard
AsyncIndirectBufferedReader = Standard
AsyncIndirectFileIO = Standard
