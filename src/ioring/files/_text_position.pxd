cpdef object pack(object place, object flags, object fed, object count, object end)
