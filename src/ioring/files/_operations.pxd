from ioring.files._transfers cimport *
