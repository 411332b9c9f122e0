"""What may be called of a ring and of its SQEs, and a function that another process can be told to call."""

from ioring import CancelFlags, Ring
from rings import drain

ALLOWED_ANYWHERE = {"fileno", "close", "closed", "cq_entries", "sq_entries", "features", "flags", "in_flight"}


def ring_calls(ring, group, memory):
    """Every public method of a ring, with arguments that are right."""
    return {
        "get_sqe": ring.get_sqe,
        "submit": ring.submit,
        "submit_and_wait": lambda: ring.submit_and_wait(0),
        "peek_cqe": ring.peek_cqe,
        "wait_cqe": lambda: ring.wait_cqe(0),
        "wait_cqes": lambda: ring.wait_cqes(1, 0),
        "completions": ring.completions,
        "sq_ready": ring.sq_ready,
        "sq_space_left": ring.sq_space_left,
        "cq_ready": ring.cq_ready,
        "register_ring_fd": ring.register_ring_fd,
        "unregister_ring_fd": ring.unregister_ring_fd,
        "register_files": lambda: ring.register_files([0]),
        "register_files_sparse": lambda: ring.register_files_sparse(1),
        "register_files_update": lambda: ring.register_files_update(0, [-1]),
        "register_file_alloc_range": lambda: ring.register_file_alloc_range(0, 1),
        "unregister_files": ring.unregister_files,
        "register_buffers": lambda: ring.register_buffers([memory]),
        "register_buffers_sparse": lambda: ring.register_buffers_sparse(1),
        "register_buffers_update": lambda: ring.register_buffers_update(0, [memory]),
        "unregister_buffers": ring.unregister_buffers,
        "register_buf_ring": lambda: ring.register_buf_ring(group, 7),
        "setup_buf_ring": lambda: ring.setup_buf_ring(2, 16, 8),
        "unregister_buf_ring": lambda: ring.unregister_buf_ring(3),
        "buf_ring_head": lambda: ring.buf_ring_head(3),
        "register_eventfd": lambda: ring.register_eventfd(0),
        "register_eventfd_async": lambda: ring.register_eventfd_async(0),
        "unregister_eventfd": ring.unregister_eventfd,
        "register_probe": ring.register_probe,
        "register_personality": ring.register_personality,
        "unregister_personality": lambda: ring.unregister_personality(1),
        "register_restrictions": lambda: ring.register_restrictions([(0, 0)]),
        "register_iowq_aff": lambda: ring.register_iowq_aff([0]),
        "unregister_iowq_aff": ring.unregister_iowq_aff,
        "register_iowq_max_workers": ring.register_iowq_max_workers,
        "register_napi": lambda: ring.register_napi(0),
        "unregister_napi": ring.unregister_napi,
        "register_clock": lambda: ring.register_clock(1),
        "register_sync_cancel": lambda: ring.register_sync_cancel(flags=CancelFlags.ANY),
        "enable_rings": ring.enable_rings,
    }


def sqe_calls(sqe):
    return {
        "prep_nop": sqe.prep_nop,
        "prep_recv": lambda: sqe.prep_recv(0, bytearray(1)),
        "set_flags": lambda: sqe.set_flags(0),
        "flags": lambda: sqe.flags,
        "link": lambda: setattr(sqe, "link", True),
        "buffer_group": lambda: setattr(sqe, "buffer_group", 1),
        "ioprio": lambda: setattr(sqe, "ioprio", 1),
        "bytes": lambda: bytes(sqe),
    }


def count_to_ten():
    with Ring(16) as ring:
        for number in range(10):
            ring.get_sqe().user_data = number
        ring.submit()
        return sum(cqe.user_data for cqe in drain(ring))
