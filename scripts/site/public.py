"""Called by griffe, which reads the sources for the reference: what is shown of a compiled class.

In the source of a compiled module all methods look alike, even those that only other compiled code can call. What
Python sees is in the stub beside it, so only that is shown. The base classes are the stub's as well, since the source
knows them by its .pxd.
"""

from functools import cache
from pathlib import Path

import griffe


@cache
def stub_of(name, path):
    """The stub of a module, as griffe reads it; None for a module of plain Python without one.

    A compiled module without one has nothing that a program should use.
    """
    source = Path(path)  # or the compiled module, whose name has several suffixes
    stub = source.with_name(source.name.partition(".")[0] + ".pyi")
    if stub.exists():
        return griffe.visit(name, filepath=stub, code=stub.read_text())
    return griffe.Module(name) if stub.with_suffix(".pxd").exists() else None


def classes_of(module):
    """The classes of a package whose modules are compiled or have stubs, each with its module's stub."""
    for member in module.members.values():
        if member.is_alias:
            continue
        if member.is_module:
            yield from classes_of(member)
        elif member.is_class and isinstance(member.filepath, Path):
            stub = stub_of(member.module.path, str(member.filepath))
            if stub is not None:
                yield member, stub


class OnlyPublic(griffe.Extension):
    def on_package(self, *, pkg, **_):
        classes = list(classes_of(pkg))
        for cls, stub in classes:
            self.inherit_docstrings(cls, stub)
        for cls, stub in classes:
            self.clean(cls, stub)

    def inherit_docstrings(self, cls, stub):
        """A method that a stub shows may be written in a compiled base class, which is not shown itself."""
        for base in cls.mro():
            for name, member in cls.members.items():
                written = base.members.get(name)
                if not member.is_alias and not member.docstring and written is not None and not written.is_alias:
                    member.docstring = written.docstring

    def clean(self, cls, stub):
        shown = stub.members.get(cls.name)
        if shown is None or not shown.is_class:
            cls.members.clear()
            return
        for name in set(cls.members) - set(shown.members):
            cls.del_member(name)
        # griffe joins source and stub, but what comes of it depends on the order in which the folder lists them.
        for name, member in shown.members.items():
            joined = cls.members.get(name)
            if joined is None or joined.kind is not member.kind or (member.docstring and not joined.docstring):
                cls.set_member(name, member)
        cls.bases = shown.bases
