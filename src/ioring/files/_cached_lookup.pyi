LOCAL: frozenset[bytes]
MEMORY: frozenset[bytes]
MOUNTS_MAX: int

def open_beneath(folder: int, path: bytes, flags: int, cached: bool, outside: bool = False) -> int: ...
