from typing import TypeAlias

from _typeshed import HasFileno

from ioring.ring._direct import Direct
from ioring.ring._request import Op
from ioring.ring.constants import SqeFlags

# What stands for an open file: a descriptor, what has one, or a slot of the ring's file table.
_Descriptor: TypeAlias = int | HasFileno | Direct
# Where the ``*at`` operations start from; None is the working directory.
_Directory: TypeAlias = int | HasFileno | None
# Where a new direct descriptor goes; FILE_INDEX_ALLOC is an int.
_Slot: TypeAlias = int | Direct

class Entry(Op):
    # Flags are read as the enumeration; an int may be assigned.
    @property
    def flags(self) -> SqeFlags: ...
    @flags.setter
    def flags(self, flags: int) -> None: ...
    link: bool
    hardlink: bool
    drain: bool
    always_async: bool
    skip_success: bool
    fixed_file: bool
    buffer_group: int | None
    buf_index: int
    ioprio: int
    personality: int
    def set_flags(self, flags: int) -> None: ...
    def __bytes__(self) -> bytes: ...
