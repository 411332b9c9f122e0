"""What the files that are read have in them: block n of a file is the number n, again and again."""

import struct

BLOCK = 4096


def content(block):
    return struct.pack("<Q", block) * (BLOCK // 8)
