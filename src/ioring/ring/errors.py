"""The exceptions of the ring, and the function that makes an OSError of a negative result.

::

    OSError
     └─ RingUnavailable        the kernel, or whoever configured it, does not give this process a ring
    RuntimeError
     └─ RingError              the ring is used in a way that it does not allow
         ├─ RingClosed         after close()
         ├─ WrongThread        from a thread that the ring does not belong to
         ├─ ForkedRing         in a child process that inherited the ring by fork()
         ├─ SqeSubmitted       an SQE is changed after it was handed to the kernel
         ├─ SubmissionQueueFull   no room for an SQE, and submitting did not make any
         └─ RegistrationError  registered twice, or used without being registered
    IndexError
     └─ SlotError              a direct descriptor outside the ring's file table
"""

import os

from ioring.ring.constants import Op


class RingError(RuntimeError):
    """The ring is used in a way that it does not allow."""


class RingClosed(RingError):
    """The ring was closed: make another one."""


class WrongThread(RingError):
    """The ring belongs to another thread: use it there, or send it a message by ``send_msg_ring``."""


class ForkedRing(RingError):
    """The ring belongs to the parent process: make a new one in the child."""


class SqeSubmitted(RingError):
    """The SQE was handed to the kernel and cannot be changed any more: take a new one for each request."""


class SubmissionQueueFull(RingError):
    """The submission queue is full, and submitting did not make room: reap completions, or ask for more entries."""


class RegistrationError(RingError):
    """A resource is registered already, or is not registered."""


class SlotError(IndexError):
    """A direct descriptor lies outside the ring's file table, or there is no table."""


class RingUnavailable(OSError):
    """No ring can be had. ``errno`` is the kernel's; the message gives the reason and the remedy."""


def operation_name(opcode: int) -> str:
    """The lower-case name of an operation, as in ``recv``; ``op N`` for one that has no name here."""
    try:
        return Op(opcode).name.lower()
    except ValueError:
        return f"op {opcode}"


def os_error(result: int, operation: str) -> OSError:
    """The exception for a negative result: OSError or its subclass, with the operation where a file name stands."""
    return OSError(-result, os.strerror(-result), operation)
