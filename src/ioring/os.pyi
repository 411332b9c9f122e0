"""``ioring.os``: calls of the ``os`` module that do not keep the loop waiting. See ``ioring.files.os_calls``."""

from ioring.files.os_calls import *  # noqa: F403
from ioring.files.os_calls import __all__ as __all__
