from ioring.files._call cimport *
