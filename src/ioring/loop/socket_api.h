/* What the loop uses of <sys/socket.h>, <sys/epoll.h>, <poll.h> and <fcntl.h>: see socket_api.pxd. */
#ifndef IORING_SOCKET_API_H
#define IORING_SOCKET_API_H

#include <Python.h> /* first: it asks for the GNU extensions, such as POLLRDHUP */
#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#endif
