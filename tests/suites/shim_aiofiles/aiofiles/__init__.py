"""Stands in front of aiofiles while its tests run: whoever imports that gets ours, module by module."""

import importlib
import sys

MODULES = ["", ".base", ".os", ".ospath", ".tempfile", ".tempfile.temptypes", ".threadpool"]
MODULES += [".threadpool.binary", ".threadpool.text", ".threadpool.utils"]

for module in MODULES:
    sys.modules[f"aiofiles{module}"] = importlib.import_module(f"ioring.aiofiles{module}")
