"""Registrations: made twice, undone without, or with arguments that cannot be right."""

import array
import ctypes
import mmap
import os
import socket

import pytest

from ioring import (
    CancelFlags,
    EpollEvents,
    OpenHow,
    RegistrationError,
    RestrictionOp,
    Ring,
    SlotError,
    send_msg_ring,
)
from rings import WAIT_S, needs, resizable


def test_registrations_twice_and_without(ring):
    buffer = bytearray(16)
    for call, words in (
        (ring.unregister_files, "no file table"),
        (lambda: ring.register_files_update(0, [-1]), "no file table"),
        (lambda: ring.register_file_alloc_range(0, 1), "no file table"),
        (ring.unregister_buffers, "no buffers"),
        (lambda: ring.register_buffers_update(0, [buffer]), "no buffers"),
        (ring.unregister_eventfd, "no eventfd"),
        (lambda: ring.unregister_personality(1), "no personality"),
        (ring.enable_rings, "enabled already"),
        (lambda: ring.register_restrictions([(RestrictionOp.SQE_OP, 0)]), "R_DISABLED"),
    ):
        with pytest.raises(RegistrationError, match=words):
            call()
    ring.register_files_sparse(4)
    ring.register_buffers([buffer])
    event = os.eventfd(0)
    ring.register_eventfd(event)
    os.close(event)
    for call in (
        lambda: ring.register_files_sparse(4),
        lambda: ring.register_files([0]),
        lambda: ring.register_buffers([buffer]),
        lambda: ring.register_buffers_sparse(4),
        lambda: ring.register_eventfd(0),
    ):
        with pytest.raises(RegistrationError, match="already"):
            call()
    for offset, files in ((4, [-1]), (0, [-1] * 5), (2**32 - 1, [-1])):
        with pytest.raises(SlotError, match="outside the table"):
            ring.register_files_update(offset, files)
        with pytest.raises(SlotError, match="outside the table"):
            ring.register_file_alloc_range(offset, len(files))
    with pytest.raises(ValueError, match="there are 1 places"):
        ring.register_buffers_update(1, [buffer])
    ring.unregister_files()
    ring.unregister_buffers()
    ring.unregister_eventfd()
    assert resizable(buffer)


def test_registrations_with_wrong_arguments(ring):
    for call in (
        lambda: ring.register_files_sparse(0),
        lambda: ring.register_files_sparse(-1),
        lambda: ring.register_files_sparse(2**20 + 1),
        lambda: ring.register_files([]),
        lambda: ring.register_buffers([]),
        lambda: ring.register_buffers([bytearray(1)] * 16385),
        lambda: ring.register_buffers_sparse(16385),
        lambda: ring.register_iowq_aff([]),
        lambda: ring.register_iowq_aff([-1]),
        lambda: ring.register_restrictions([]),
        lambda: ring.register_restrictions([(9, 9)]),
        lambda: ring.register_sync_cancel(op=300),
        lambda: ring.register_sync_cancel(fd=2**40, flags=CancelFlags.FD),
        lambda: ring.register_sync_cancel(timeout=-1),
        lambda: ring.register_iowq_max_workers(-1),
        lambda: ring.register_napi(-1),
        lambda: OpenHow(-1),
        lambda: EpollEvents(0),
    ):
        with pytest.raises(ValueError):
            call()
    for call in (
        lambda: ring.register_files(["x"]),
        lambda: ring.register_files(5),
        lambda: ring.register_eventfd("x"),
        lambda: ring.register_buffers([5]),
        lambda: ring.register_buffers(5),
        lambda: ring.register_sync_cancel(timeout="x"),
        lambda: Ring(4, wq_fd="x"),
        lambda: ring.register_personality(1),
    ):
        with pytest.raises(TypeError):
            call()
    for number in (-5, 2**40):
        with pytest.raises(ValueError):
            ring.register_files([number])
    with pytest.raises(OSError) as caught:
        ring.register_files([2**31 - 1])
    assert caught.value.errno == 9
    ring.register_buffers([ctypes.create_string_buffer(16), mmap.mmap(-1, 4096), array.array("d", [1.0])])


@needs("MSG_RING")
def test_messages_to_what_is_no_ring(ring):
    with socket.socket() as sock:
        ring.get_sqe().prep_msg_ring(sock, 0, 0)
        ring.submit()
        assert ring.wait_cqe(WAIT_S).res in (-77, -9)
        with pytest.raises(OSError):
            send_msg_ring(sock, 0, 0)
