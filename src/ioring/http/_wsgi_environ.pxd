from ioring.http._exchange cimport Channel, Exchange
from ioring.http._service cimport reason

cdef dict environ(Exchange exchange, Channel channel, dict base, object body)
cdef tuple status_of(str status)
cdef str key_of(bytes name)
cdef bytes field_of(str name)
