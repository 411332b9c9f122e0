# socket_api.h as Cython sees it: the flags and the few system calls on sockets and polls that the loop's modules share.

from libc.stdint cimport uint32_t, uint64_t

from ioring.ring._msghdr cimport msghdr as msghdr_t

cdef extern from "socket_api.h" nogil:
    const int AF_UNIX
    const int AF_INET
    const int AF_INET6

    const int MSG_DONTWAIT
    const int MSG_NOSIGNAL
    const int MSG_WAITALL

    const int SHUT_WR
    const int SOCK_CLOEXEC
    const int SOCK_NONBLOCK

    const int POLLIN
    const int POLLPRI
    const int POLLOUT
    const int POLLERR
    const int POLLHUP
    const int POLLRDHUP

    const int F_GETFL
    const int F_SETFL
    const int O_NONBLOCK

    struct sockaddr:
        pass
    struct sockaddr_storage:
        unsigned short ss_family

    Py_ssize_t recv(int fd, void *buffer, size_t length, int flags)
    Py_ssize_t send(int fd, const void *buffer, size_t length, int flags)
    Py_ssize_t sendmsg(int fd, const msghdr_t *message, int flags)
    int getpeername(int fd, sockaddr *name, unsigned *size)
    int accept4(int fd, sockaddr *name, unsigned *size, int flags)
    int fcntl(int fd, int command, ...)

    const int EPOLL_CLOEXEC
    const int EPOLL_CTL_ADD
    const int EPOLL_CTL_DEL
    const int EPOLL_CTL_MOD

    const unsigned EPOLLIN
    const unsigned EPOLLOUT

    union epoll_data:
        uint64_t u64
    struct epoll_event:
        uint32_t events
        epoll_data data

    int epoll_create1(int flags)
    int epoll_ctl(int epfd, int op, int fd, epoll_event *event)
    int epoll_wait(int epfd, epoll_event *events, int maxevents, int timeout)
