/* What the loop uses of <sys/socket.h> and <poll.h>: see socket_api.pxd. */
#ifndef IORING_SOCKET_API_H
#define IORING_SOCKET_API_H

#include <Python.h> /* first: it asks for the GNU extensions, such as POLLRDHUP */
#include <poll.h>
#include <sys/socket.h>

#endif
