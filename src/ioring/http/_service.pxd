cimport cython


cdef class Service:
    # What answers requests: an ASGI application, or a function that is called with the Exchange.
    cdef readonly object application
    cdef readonly bint asgi

    cdef readonly object loop
    cdef readonly object log_access       # what access_log() returned
    cdef readonly object find_mount       # what mount_finder() returned
    cdef readonly object apply_forwarded  # what forwarding() returned
    cdef public bint websockets           # open_websocket() can be called
    cdef public bint pathsend             # applications are told of http.response.pathsend
    cdef public dict state                # of the lifespan: each request gets a copy
    cdef public str root_path
    cdef public dict probes               # functions by the paths that the server answers itself; None: there are none
    cdef readonly set connections         # Connections and WebSockets
    cdef readonly set unread              # those of them from which nothing is received for now

    # Limits; 0: none.
    cdef public Py_ssize_t head_max
    cdef public long long body_max
    cdef public Py_ssize_t headers_max
    cdef public Py_ssize_t connections_max
    cdef public unsigned concurrency_max
    cdef public unsigned long requests_max  # with this one exhausted() is called

    # Time-outs in seconds; infinite: none.
    cdef public double head_timeout
    cdef public double body_timeout
    cdef public double idle_timeout
    cdef public double write_timeout

    # When tick() ran last, in seconds on the loop's clock.
    cdef readonly double now
    cdef public double due    # when it is to run next
    cdef public bint stopping
    cdef public bint timed    # `began` of an exchange is precise, and not that of the last tick()
    cdef public bint server_header
    cdef public bint date_header
    cdef bytes standard       # date_line and server_line, as far as they are sent
    cdef bytes date_line
    cdef readonly bytes server_line
    cdef readonly list extras # pairs of a name and a line, for responses that have none of that name; or None
    cdef long second

    cdef readonly unsigned long requests
    cdef public Py_ssize_t surplus     # connections beyond connections_max, which are told so
    cdef public unsigned active        # requests that the application works on
    cdef readonly unsigned long accepted
    cdef readonly unsigned long refused  # answered by the server itself, with an error
    cdef readonly unsigned long failures  # of the application
    cdef readonly unsigned long long sent
    cdef public unsigned long long received
    cdef readonly list statuses  # how many responses there were, by the first digit of their status

    # Memory in which heads of responses are composed.
    cdef char *scratch
    cdef Py_ssize_t room

    cdef int reserve(self, Py_ssize_t size) except -1


cdef bytes status_line(int status)
cdef str reason(int status)
