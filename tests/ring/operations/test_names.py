"""Operations on names and extended attributes do what their names say."""

import errno
import os

import pytest

from ioring import Sqe
from operations import complete, result
from rings import needs

SLOTS = 0

AT_REMOVEDIR = 0x200
AT_EMPTY_PATH = 0x1000
RENAME_NOREPLACE, RENAME_EXCHANGE = 1, 2


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "a").write_text("a")
    (tmp_path / "b").write_text("b")
    (tmp_path / "sub").mkdir()
    return tmp_path


@pytest.fixture
def directory(folder):
    fd = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    yield fd
    os.close(fd)


@pytest.fixture
def inside(folder, monkeypatch):
    """The folder as working directory."""
    monkeypatch.chdir(folder)
    return folder


def names(folder):
    return sorted(os.listdir(folder))


def test_unlink(ring, inside):
    assert result(ring, Sqe.prep_unlink, "a") == 0
    assert names(inside) == ["b", "sub"]
    assert complete(ring, Sqe.prep_unlink, "sub").res == -errno.EISDIR
    assert result(ring, Sqe.prep_unlink, b"sub", AT_REMOVEDIR) == 0
    assert names(inside) == ["b"]
    with pytest.raises(FileNotFoundError) as caught:
        complete(ring, Sqe.prep_unlink, "a").result()
    assert caught.value.filename == "unlinkat"


def test_unlinkat(ring, folder, directory):
    assert result(ring, Sqe.prep_unlinkat, directory, "a") == 0
    assert result(ring, Sqe.prep_unlinkat, directory, "sub", AT_REMOVEDIR) == 0
    assert names(folder) == ["b"]


def test_rename(ring, inside):
    assert result(ring, Sqe.prep_rename, "a", "c") == 0
    assert result(ring, Sqe.prep_rename, inside / "c", inside / "b") == 0
    assert names(inside) == ["b", "sub"]
    assert (inside / "b").read_text() == "a"


def test_renameat(ring, folder, directory):
    sub = os.open(folder / "sub", os.O_PATH)
    try:
        assert result(ring, Sqe.prep_renameat, directory, "a", sub, "c") == 0
        assert names(folder / "sub") == ["c"]
        assert complete(ring, Sqe.prep_renameat, sub, "c", directory, "b", RENAME_NOREPLACE).res == -errno.EEXIST
        assert result(ring, Sqe.prep_renameat, sub, "c", directory, "b", RENAME_EXCHANGE) == 0
    finally:
        os.close(sub)
    assert ((folder / "b").read_text(), (folder / "sub/c").read_text()) == ("a", "b")


def test_link(ring, inside):
    assert result(ring, Sqe.prep_link, "a", "sub/c") == 0
    assert os.path.samefile("a", "sub/c")
    with pytest.raises(FileExistsError) as caught:
        complete(ring, Sqe.prep_link, "a", "b").result()
    assert caught.value.filename == "linkat"


def test_linkat(ring, folder, directory):
    with open(folder / "a") as file:
        assert result(ring, Sqe.prep_linkat, directory, "a", directory, "c") == 0
        cqe = complete(ring, Sqe.prep_linkat, file, "", directory, "d", AT_EMPTY_PATH)
    assert os.path.samefile(folder / "a", folder / "c")
    if cqe.res != -errno.ENOENT:  # which it is without CAP_DAC_READ_SEARCH
        assert cqe.res == 0
        assert (folder / "a").stat().st_nlink == 3


def test_symlink(ring, inside):
    assert result(ring, Sqe.prep_symlink, "target/../é", "link") == 0
    assert os.readlink("link") == "target/../é"
    assert complete(ring, Sqe.prep_symlink, "x", "link").res == -errno.EEXIST


def test_symlinkat(ring, folder, directory):
    assert result(ring, Sqe.prep_symlinkat, "a", directory, "link") == 0
    assert (folder / "link").read_text() == "a"


def test_mkdir(ring, inside):
    umask = os.umask(0o022)
    try:
        assert result(ring, Sqe.prep_mkdir, "one") == 0
        assert result(ring, Sqe.prep_mkdir, "two", 0o711) == 0
    finally:
        os.umask(umask)
    assert [(inside / name).stat().st_mode & 0o7777 for name in ("one", "two")] == [0o755, 0o711]
    with pytest.raises(FileExistsError) as caught:
        complete(ring, Sqe.prep_mkdir, "one").result()
    assert caught.value.filename == "mkdirat"


def test_mkdirat(ring, folder, directory):
    assert result(ring, Sqe.prep_mkdirat, directory, "new", 0o700) == 0
    assert (folder / "new").is_dir()
    assert complete(ring, Sqe.prep_mkdirat, directory, "a/new").res == -errno.ENOTDIR


# Extended attributes.


@pytest.fixture
def file(folder):
    try:
        os.setxattr(folder / "a", "user.before", b"hello")
    except OSError:
        pytest.skip("file system without user attributes")
    with open(folder / "a", "r+") as file:
        yield file


@needs("GETXATTR")
def test_getxattr(ring, file):
    value = bytearray(10)
    assert result(ring, Sqe.prep_getxattr, "user.before", value, file.name) == 5
    assert value == b"hello" + bytes(5)
    assert result(ring, Sqe.prep_getxattr, "user.before", value, file.name, 0) == 5
    assert complete(ring, Sqe.prep_getxattr, "user.before", value, file.name, 3).res == -errno.ERANGE
    assert complete(ring, Sqe.prep_getxattr, "user.nothing", value, file.name).res == -errno.ENODATA


@needs("FGETXATTR")
def test_fgetxattr(ring, file):
    value = bytearray(10)
    assert result(ring, Sqe.prep_fgetxattr, file, "user.before", value) == 5
    assert value == b"hello" + bytes(5)


@needs("SETXATTR")
def test_setxattr(ring, file):
    assert result(ring, Sqe.prep_setxattr, "user.one", b"1", file.name) == 0
    assert result(ring, Sqe.prep_setxattr, "user.one", b"two", file.name, os.XATTR_REPLACE) == 0
    assert os.getxattr(file.name, "user.one") == b"two"
    cqe = complete(ring, Sqe.prep_setxattr, "user.one", b"3", file.name, os.XATTR_CREATE)
    assert cqe.res == -errno.EEXIST


@needs("FSETXATTR")
def test_fsetxattr(ring, file):
    assert result(ring, Sqe.prep_fsetxattr, file, "user.one", b"12345", 0, 3) == 0
    assert os.getxattr(file.name, "user.one") == b"123"
    assert complete(ring, Sqe.prep_fsetxattr, file, "user.two", b"", os.XATTR_REPLACE).res == -errno.ENODATA
