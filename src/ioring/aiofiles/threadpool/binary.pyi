from typing import Self

from ioring._core.bufferedfile import BufferedFile
from ioring._core.rawfile import RawFile
from ioring.aiofiles.base import AsyncBase
from ioring.standard import Standard

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
