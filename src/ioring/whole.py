"""``ioring.whole``: whole files read, written and copied. See ``ioring.files.contents`` and ``copyfile``."""

from ioring.files.contents import read_bytes, read_text, write_bytes, write_text
from ioring.files.copyfile import copy

__all__ = ["copy", "read_bytes", "read_text", "write_bytes", "write_text"]
