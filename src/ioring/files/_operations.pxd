from ioring.files._requests cimport *
