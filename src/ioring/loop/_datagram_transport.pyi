from typing import Any

from ioring.loop._core import LoopCore
from ioring.ring._buffer_ring import BufferRing

def datagram_transport(
    loop: LoopCore,
    sock: Any,
    protocol: Any,
    address: Any,
    waiter: Any,
    extra: dict[str, Any] | None,
    buffers: BufferRing,
) -> Any: ...
