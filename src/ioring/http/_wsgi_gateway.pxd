cimport cython
from libc.stdint cimport uint32_t
from ioring.loop._core cimport LoopCore, LoopOp
from ioring.loop._engine cimport STAYS
from ioring.http._exchange cimport Channel, Exchange
from ioring.http._service cimport Service


cdef class Gateway:
    cdef readonly object application
    cdef readonly object loop
    cdef readonly dict base       # what is the same in the environ of every request
    cdef readonly object wrapper  # the class that is wsgi.file_wrapper

    cdef LoopCore core            # the loop, when it is one on a ring

    # Guards what follows, and the fields of calls that both threads use. Held for a few instructions at a time.
    cdef cython.pymutex lock
    cdef Call first            # the calls that no thread has taken yet, linked by `next`
    cdef Call last
    cdef unsigned queued       # how many they are
    cdef unsigned long taken   # how many threads have taken
    cdef list workers
    cdef list idle             # those of them that have nothing to do
    cdef unsigned active       # how many others there are
    cdef bint waking           # one of them is being woken
    cdef bint waits            # the application blocks
    cdef list done             # calls that the loop is to look at
    cdef bint told             # the loop knows that there are any
    cdef bint closing

    # Of the loop's thread.
    cdef bint watched          # look() is going to be called
    cdef unsigned long seen    # what `taken` was when that was decided
    cdef unsigned long found_waiting  # what it was when the application was last found waiting

    cdef int submit(self, Call call) except -1
    cdef Worker next_worker(self)
    cdef int watch(self) except -1
    cdef int rest(self, Worker worker, bint tell) except -1
    cdef int tell(self) except -1


@cython.final
cdef class Worker(LoopOp):
    cdef uint32_t gate
    cdef Call call             # what it is working on

    cdef int open(self) except -1
    cdef int open_later(self) except -1
    cdef int wait(self) except -1


@cython.final
cdef class Call:
    cdef readonly Gateway gateway
    cdef readonly Exchange exchange
    cdef Channel channel
    cdef object input
    cdef object handed      # the HandedSocket of a request for a WebSocket; or None
    cdef bint submitted
    cdef Call next

    # Of the thread.
    cdef Worker worker
    cdef readonly int status
    cdef readonly list headers
    cdef readonly bytes line  # of its status, when its reason is not the usual one
    cdef bint head_sent     # the application may not change its head any more

    # Of both threads.
    cdef bint waiting       # the thread is waiting for its gate
    cdef readonly bint lost  # there is nobody who would take more of the response
    cdef bint posted        # it is in the gateway's list `done`
    cdef list out           # pieces of the body that the loop has not taken yet
    cdef Py_ssize_t unsent  # bytes in them, and in what waits for the client
    cdef bint ended
    cdef object error
    cdef bint wanting       # the thread waits for some of the request's body
    cdef object given       # what it gets
    cdef object file        # (file, offset, count), until it is sent

    # Of the loop's thread.
    cdef Py_ssize_t paused  # bytes that were written while the client took nothing
    cdef bint reported

    cdef int run(self, Worker worker) except -1
    cdef int iterate(self, object result) except -1
    cdef int put(self, bytes data, bint last) except -1
    cdef int post(self, bint at_once) except -1
    cdef int wake(self) except -1
    cdef int deliver(self) except -1
    cdef int give(self) except -1
    cdef int failed(self, object error) except -1
    cdef int report(self, object error) except -1

