"""Text files: what the comparison with io does not reach."""

import ast
import io
import os
import random

import pytest

from ioring import files
from rings import python


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "utf-7", "shift_jis", "latin-1"])
@pytest.mark.parametrize("newline", [None, "\r\n"])
def test_positions_in_a_long_file(run, tmp_path, encoding, newline):
    """Longer than a piece, and than what is read ahead at first."""
    letters = "aあ漢 " if encoding == "shift_jis" else "aé " if encoding == "latin-1" else "aé€漢 "
    draw = random.Random(3)
    lines = ["".join(draw.choices(letters, k=draw.randrange(200))) + "\n" for _ in range(1500)]
    path = tmp_path / "file"
    path.write_text("".join(lines), encoding, newline="\r\n")

    async def main():
        async with files.open(path, encoding=encoding, newline=newline) as file:
            places = []
            for number in range(len(lines)):
                if number % 37 == 0:
                    places.append((number, await file.tell()))
                await file.readline()
            draw.shuffle(places)
            for number, place in places:
                assert await file.seek(place) == place
                line = await file.readline()
                assert line.rstrip("\r\n") + "\n" == lines[number]
                assert line.endswith("\n" if newline is None else newline)
                part = await file.read(11)
                middle = await file.tell()
                rest = await file.read(5000)
                await file.seek(middle)
                assert await file.read(5000) == rest
                expected = "".join(lines[number + 1 :])
                if newline is not None:
                    expected = expected.replace("\n", newline)
                assert expected.startswith(part + rest)
            await file.seek(0)
            assert [line.rstrip("\r\n") + "\n" async for line in file] == lines

    run(main())


def test_line_buffering(run, tmp_path):
    async def main():
        async with files.open(tmp_path / "file", "w", 1, encoding="utf-8") as file:
            assert file.line_buffering
            await file.write("no end")
            assert (tmp_path / "file").read_bytes() == b""
            await file.write(" end\n")
            assert (tmp_path / "file").read_bytes() == b"no end end\n"

    run(main())


def test_reconfigure(run, tmp_path):
    async def main():
        path = tmp_path / "file"
        async with files.open(path, "w", encoding="latin-1") as file:
            await file.write("é\n")
            await file.reconfigure(encoding="utf-8", newline="\r\n", line_buffering=True)
            assert (file.encoding, file.errors, file.line_buffering) == ("utf-8", "strict", True)
            await file.write("é\n")
        assert path.read_bytes() == b"\xe9\n\xc3\xa9\r\n"
        async with files.open(path, encoding="utf-8", errors="replace") as file:
            await file.read(1)
            with pytest.raises(io.UnsupportedOperation):
                await file.reconfigure(encoding="latin-1")

    run(main())


@pytest.mark.parametrize("encoding", ["no such encoding", "base64"])
def test_unknown_encodings(run, tmp_path, encoding):
    async def main():
        with pytest.raises(LookupError):
            await files.open(tmp_path / "file", "w", encoding=encoding)

    run(main())


def test_the_default_encoding_is_that_of_open():
    code = """
import warnings
async def main():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        async with ioring.open("/dev/null") as file:
            line = open("/dev/null").encoding == file.encoding
        async with ioring.open("/dev/null", encoding="locale") as file:
            print(file.encoding, line)
    print([(warning.category.__name__, warning.lineno) for warning in caught])
ioring.run(main())
"""
    printed = python(code, arguments=["-X", "warn_default_encoding", "-X", "utf8=0"])
    encoding, same, warned = printed.split(maxsplit=2)
    assert encoding == io.TextIOWrapper(io.BytesIO(), encoding="locale").encoding
    assert same == "True"
    found = [line for kind, line in ast.literal_eval(warned.splitlines()[0]) if kind == "EncodingWarning"]
    assert len(set(found)) == 2  # ours and the built-in one's, each where the call is


def test_pipes_have_no_positions(run):
    async def main():
        reading, writing = os.pipe()
        async with files.open(reading, encoding="utf-8") as source, files.open(writing, "w", encoding="utf-8") as sink:
            await sink.write("é one\ntwo\n")
            await sink.flush()
            assert await source.readline() == "é one\n"
            for call in (source.tell(), source.seek(0)):
                with pytest.raises(io.UnsupportedOperation):
                    await call
            await sink.close()
            assert await source.read() == "two\n"

    run(main())
