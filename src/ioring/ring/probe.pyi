from dataclasses import dataclass, field
from typing import Any

@dataclass(frozen=True)
class KernelFeatures:
    available: bool
    reason: str | None
    kernel: str
    operations: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    setup_flags: tuple[str, ...] = ()
    feature_flags: tuple[str, ...] = ()
    registrations: tuple[str, ...] = ()
    limits: dict[str, int] = field(default_factory=dict)
    io_uring_disabled: int | None = None
    def as_dict(self) -> dict[str, Any]: ...

def features() -> KernelFeatures: ...
