cimport cython


cdef class Service:
    # What runs for a request: an ASGI application, or a function that is given the Exchange.
    cdef readonly object application
    cdef readonly bint asgi

    cdef readonly object loop
    cdef public object upgrade  # called with a connection and an Exchange for a WebSocket; None: there are none
    cdef public object mounts   # called with a target: the function that answers it, or None; None: there are none
    cdef public object send_file  # called with an Exchange and a path: a future that is done when the file is sent
    cdef public object access   # called with each Exchange that is over; None: nobody wants to know
    cdef public object trouble  # called with a connection or an Exchange, a message and an exception or None
    cdef public dict state      # of the lifespan: each request gets a copy
    cdef public object proxy    # called with a scope whose peer is trusted; None: nobody is
    cdef public object trusts   # called with an address: whether it is that of a proxy
    cdef public str root_path
    cdef readonly set connections
    cdef readonly set unread    # those of them of which nothing is received for now

    # Limits; 0: none.
    cdef public Py_ssize_t head_max
    cdef public long long body_max
    cdef public unsigned concurrency_max
    cdef public unsigned long requests_max  # how many until `exhausted` is called
    cdef public object exhausted

    # Time-outs in seconds; infinite: none.
    cdef public double head_timeout
    cdef public double body_timeout
    cdef public double idle_timeout
    cdef public double write_timeout

    # The time of the last tick(); in seconds, of the loop's clock.
    cdef readonly double now
    cdef public bint stopping
    cdef public bint timed    # when an exchange began is wanted precisely
    cdef public bint server_header
    cdef public bint date_header
    cdef bytes standard       # the lines that are in every response
    cdef bytes date_line
    cdef bytes server_line
    cdef long second

    cdef readonly unsigned long requests
    cdef public unsigned active        # requests that an application works on
    cdef readonly unsigned long accepted
    cdef readonly unsigned long refused  # answered by the server itself, with an error
    cdef readonly unsigned long failures  # of the application
    cdef readonly unsigned long long sent
    cdef public unsigned long long received
    cdef readonly list statuses  # how many responses there were, by the first digit

    # Where heads are put together.
    cdef char *scratch
    cdef Py_ssize_t room

    cdef int reserve(self, Py_ssize_t size) except -1
    cdef int told(self, object who, str message, object exception) except -1


cdef bytes status_line(int status)
cdef str reason(int status)
