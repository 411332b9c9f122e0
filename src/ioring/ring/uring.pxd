# The C header as Cython sees it.

from ioring.ring.assertions cimport *
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

cdef extern from "uring.h" nogil:
    struct uring_sqe:
        uint8_t opcode
        uint8_t flags
        uint16_t ioprio
        int32_t fd
        uint64_t off
        uint64_t addr
        uint32_t len
        uint32_t op_flags
        uint64_t user_data
        uint16_t buf_index
        uint16_t personality
        uint32_t file_index
        uint64_t addr3
        uint64_t pad2

    struct uring_cqe:
        uint64_t user_data
        int32_t res
        uint32_t flags

    struct uring_params:
        uint32_t sq_entries
        uint32_t cq_entries
        uint32_t flags
        uint32_t sq_thread_cpu
        uint32_t sq_thread_idle
        uint32_t features
        uint32_t wq_fd

    struct uring_timespec:
        int64_t tv_sec
        int64_t tv_nsec

    struct uring_buf:
        uint64_t addr
        uint32_t len
        uint16_t bid
        uint16_t resv

    struct uring_recvmsg_out:
        uint32_t namelen
        uint32_t controllen
        uint32_t payloadlen
        uint32_t flags

    struct uring:
        int fd
        int enter_fd
        unsigned enter_flags
        unsigned setup_flags
        unsigned features
        unsigned sq_entries
        unsigned cq_entries
        unsigned sqe_shift
        unsigned cqe_shift
        uint64_t sq_tail
        uint64_t sq_published
        unsigned *sq_kflags

    enum uring_op:
        URING_OP_NOP, URING_OP_READV, URING_OP_WRITEV, URING_OP_FSYNC, URING_OP_READ_FIXED, URING_OP_WRITE_FIXED
        URING_OP_POLL_ADD, URING_OP_POLL_REMOVE, URING_OP_SYNC_FILE_RANGE, URING_OP_SENDMSG, URING_OP_RECVMSG
        URING_OP_TIMEOUT, URING_OP_TIMEOUT_REMOVE, URING_OP_ACCEPT, URING_OP_ASYNC_CANCEL, URING_OP_LINK_TIMEOUT
        URING_OP_CONNECT, URING_OP_FALLOCATE, URING_OP_OPENAT, URING_OP_CLOSE, URING_OP_FILES_UPDATE
        URING_OP_STATX, URING_OP_READ, URING_OP_WRITE, URING_OP_FADVISE, URING_OP_MADVISE, URING_OP_SEND
        URING_OP_RECV, URING_OP_OPENAT2, URING_OP_EPOLL_CTL, URING_OP_SPLICE, URING_OP_PROVIDE_BUFFERS
        URING_OP_REMOVE_BUFFERS, URING_OP_TEE, URING_OP_SHUTDOWN, URING_OP_RENAMEAT, URING_OP_UNLINKAT
        URING_OP_MKDIRAT, URING_OP_SYMLINKAT, URING_OP_LINKAT, URING_OP_MSG_RING, URING_OP_FSETXATTR
        URING_OP_SETXATTR, URING_OP_FGETXATTR, URING_OP_GETXATTR, URING_OP_SOCKET, URING_OP_URING_CMD
        URING_OP_SEND_ZC, URING_OP_SENDMSG_ZC, URING_OP_READ_MULTISHOT, URING_OP_WAITID, URING_OP_FUTEX_WAIT
        URING_OP_FUTEX_WAKE, URING_OP_FUTEX_WAITV, URING_OP_FIXED_FD_INSTALL, URING_OP_FTRUNCATE, URING_OP_BIND
        URING_OP_LISTEN, URING_OP_RECV_ZC, URING_OP_EPOLL_WAIT, URING_OP_READV_FIXED, URING_OP_WRITEV_FIXED
        URING_OP_PIPE

    enum:
        URING_SQE_FIXED_FILE, URING_SQE_IO_DRAIN, URING_SQE_IO_LINK, URING_SQE_IO_HARDLINK, URING_SQE_ASYNC
        URING_SQE_BUFFER_SELECT, URING_SQE_CQE_SKIP_SUCCESS
    enum:
        URING_SETUP_SQPOLL, URING_SETUP_R_DISABLED, URING_SETUP_SINGLE_ISSUER
    enum:
        URING_CQE_F_BUFFER, URING_CQE_F_MORE, URING_CQE_F_SOCK_NONEMPTY, URING_CQE_F_NOTIF, URING_CQE_F_BUF_MORE
        URING_CQE_BUFFER_SHIFT
    enum:
        URING_ENTER_GETEVENTS, URING_ENTER_SQ_WAKEUP, URING_ENTER_SQ_WAIT, URING_ENTER_REGISTERED_RING
    enum:
        URING_ACCEPT_MULTISHOT, URING_RECV_MULTISHOT, URING_RECVSEND_FIXED_BUF, URING_RECVSEND_BUNDLE
        URING_POLL_ADD_MULTI, URING_POLL_UPDATE_USER_DATA, URING_TIMEOUT_UPDATE
    enum:
        URING_CANCEL_ALL, URING_CANCEL_FD, URING_CANCEL_ANY, URING_CANCEL_FD_FIXED, URING_CANCEL_OP
    enum:
        URING_MSG_SEND_FD, URING_MSG_RING_FLAGS_PASS, URING_REGISTER_SEND_MSG_RING
        URING_UNREGISTER_BUFFERS, URING_UNREGISTER_FILES
        URING_BLOCK_CMD_DISCARD
    unsigned URING_FILE_INDEX_ALLOC
    unsigned URING_SPLICE_F_FD_IN_FIXED

    bint uring_op_is_light(int op)
    int uring_sys_register(int fd, unsigned op, void *arg, unsigned n)
    int uring_open(uring *u, unsigned entries, uring_params *p)
    int uring_usable(uring *u)
    unsigned uring_sq_ready(const uring *u)
    uring_sqe *uring_get_sqe(uring *u)
    unsigned uring_publish(uring *u)
    void uring_retract(uring *u)
    int uring_sq_needs_wakeup(const uring *u)
    unsigned uring_cq_queued(const uring *u)
    unsigned uring_cq_ready(const uring *u)
    uring_cqe *uring_peek_cqe(const uring *u)
    uring_cqe *uring_cqe_at(const uring *u, unsigned ahead)
    void uring_cq_advance(uring *u, unsigned n)
    int uring_cq_set_aside(uring *u)
    int uring_cq_hand_over(uring *source, uring *target)
    int uring_cq_needs_enter(const uring *u)
    int uring_enter(uring *u, unsigned submit, unsigned wait, unsigned flags, int64_t timeout_ns)
    int uring_submit(uring *u, unsigned count)
    int uring_cancel_all(uring *u, int64_t timeout_ns)
    int uring_send_wakeup(int fd)
    void uring_unregister_ring_index(int fd, int index)
    void uring_unregister_ring_fd(uring *u)
    unsigned long uring_thread_self()
    int uring_gettid()
    void uring_store_release(uint16_t *p, uint16_t v)

ctypedef uring_sqe *sqe_p
ctypedef uring_cqe *cqe_p
ctypedef uring_buf *buf_p

cdef extern from "errno.h":
    int ECANCELED  # which Cython's own libc.errno lacks
