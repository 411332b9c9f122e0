"""The SQE has liburing's vocabulary, and each word of it is exercised by the tests of operations."""

import re
from pathlib import Path

import pytest

import ioring

TESTS = Path(__file__).parent

# io_uring_prep_* of liburing 2.9, and what came later and is here.
LIBURING = """
    splice tee readv readv2 read_fixed writev writev2 write_fixed recvmsg recvmsg_multishot sendmsg poll_add
    poll_multishot poll_remove poll_update fsync nop timeout timeout_remove timeout_update accept accept_direct
    multishot_accept multishot_accept_direct cancel64 cancel cancel_fd link_timeout connect bind listen files_update
    fallocate openat openat_direct open open_direct close close_direct read read_multishot write statx fadvise madvise
    fadvise64 madvise64 send send_bundle send_set_addr sendto send_zc send_zc_fixed sendmsg_zc recv recv_multishot
    openat2 openat2_direct epoll_ctl provide_buffers remove_buffers shutdown unlinkat unlink renameat rename
    sync_file_range mkdirat mkdir symlinkat symlink linkat link msg_ring_cqe_flags msg_ring msg_ring_fd
    msg_ring_fd_alloc getxattr setxattr fgetxattr fsetxattr socket socket_direct socket_direct_alloc cmd_sock waitid
    futex_wake futex_wait futex_waitv fixed_fd_install ftruncate cmd_discard
    epoll_wait readv_fixed writev_fixed sendmsg_zc_fixed pipe pipe_direct uring_cmd
"""

REGISTRATIONS = """
    register_files register_files_sparse register_files_update unregister_files register_file_alloc_range
    register_buffers register_buffers_sparse register_buffers_update unregister_buffers
    register_buf_ring setup_buf_ring unregister_buf_ring buf_ring_head
    register_eventfd register_eventfd_async unregister_eventfd register_probe
    register_personality unregister_personality register_restrictions enable_rings
    register_iowq_aff unregister_iowq_aff register_iowq_max_workers register_ring_fd unregister_ring_fd
    register_napi unregister_napi register_clock register_sync_cancel
"""


def words_of_the_operations_tests():
    text = "".join(path.read_text() for path in TESTS.glob("test_*.py") if path != Path(__file__))
    return set(re.findall(r"\w+", text))


@pytest.mark.parametrize("name", LIBURING.split())
def test_vocabulary(name):
    method = getattr(ioring.Sqe, f"prep_{name}")
    assert f"io_uring_prep_{name}" in method.__doc__


def test_every_operation_is_exercised():
    operations = {name for name in dir(ioring.Sqe) if name.startswith("prep_")}
    assert operations - {f"prep_{name}" for name in LIBURING.split()} == {"prep_nop_result", "prep_cancel_op"}
    assert not operations - words_of_the_operations_tests()


def test_every_registration_is_exercised():
    registrations = {name for name in dir(ioring.Ring) if re.match("(un)?register_|enable_|setup_|buf_ring", name)}
    assert registrations == set(REGISTRATIONS.split())
    assert not registrations - words_of_the_operations_tests()
