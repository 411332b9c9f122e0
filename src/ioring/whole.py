"""``ioring.whole``: whole files read, written and copied. See ``ioring.files.contents``."""

from ioring.files.contents import copy, read_bytes, read_text, write_bytes, write_text

__all__ = ["copy", "read_bytes", "read_text", "write_bytes", "write_text"]
