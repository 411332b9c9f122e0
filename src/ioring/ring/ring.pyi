from ioring.ring.constants import Features, SetupFlags
from ioring.ring.registrations import Registrations, _ProcessDescriptor

class Ring(Registrations):
    def __init__(
        self,
        entries: int,
        *,
        flags: int = ...,
        cq_entries: int | None = None,
        sq_thread_idle: int = 0,
        sq_thread_cpu: int | None = None,
        wq_fd: _ProcessDescriptor | None = None,
    ) -> None: ...
    @property
    def features(self) -> Features: ...
    @property
    def flags(self) -> SetupFlags: ...

def send_msg_ring(ring: _ProcessDescriptor, nbytes: int, data: int, flags: int = 0) -> None: ...
