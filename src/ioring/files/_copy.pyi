from collections.abc import Callable

from ioring.files._base import File
from ioring.files._requests import Request

class Copying(File):
    def copy_to(
        self,
        other: File,
        offset: int | None = None,
        count: int | None = None,
        *,
        progress: Callable[[int], object] | None = None,
    ) -> Request[int]: ...
