"""Binary files give what io's give: the same operations on both, with the same results and files."""

import io
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engines import ENGINES
from ioring import files

SETTINGS = settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])

DATA = st.text("ab\n", max_size=12).map(str.encode)
SIZES = st.integers(-1, 30)
OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("read"), st.one_of(SIZES, st.none())),
        st.tuples(st.just("read1"), SIZES),
        st.tuples(st.just("readall")),
        st.tuples(st.just("readinto"), st.integers(0, 30)),
        st.tuples(st.just("readinto1"), st.integers(0, 30)),
        st.tuples(st.just("readline"), SIZES),
        st.tuples(st.just("readlines"), SIZES),
        st.tuples(st.just("next")),
        st.tuples(st.just("write"), DATA),
        st.tuples(st.just("write"), DATA.map(bytearray)),
        st.tuples(st.just("writelines"), st.lists(DATA, max_size=3)),
        st.tuples(st.just("tell")),
        st.tuples(st.just("seek"), st.integers(-30, 60), st.integers(0, 2)),
        st.tuples(st.just("truncate"), st.one_of(st.none(), st.integers(-1, 60))),
        st.tuples(st.just("flush")),
        st.tuples(st.just("fileno position")),
    ),
    max_size=15,
)
NOTHING = [("readline", 0), ("readinto", 0), ("readlines", 0)]
"""What they do to files that cannot be read too."""
CASES = st.fixed_dictionaries(
    {
        "mode": st.sampled_from(["rb", "wb", "ab", "r+b", "w+b", "a+b", "xb", "x+b"]),
        "buffering": st.sampled_from([-1, 0, 16, 20]),
        "content": st.text("ab\n", max_size=60).map(str.encode),
        "operations": OPERATIONS,
    }
)


async def do(file, name, *arguments):
    """A result, or the kind of exception."""
    try:
        if name == "fileno position":
            return os.lseek(file.fileno(), 0, os.SEEK_CUR) if isinstance(file, io.RawIOBase | files.RawFile) else None
        if name == "next":
            name = "readline"
        if name.startswith("readinto"):
            buffer = bytearray(arguments[0])
            result = getattr(file, name)(buffer)
            count = await result if hasattr(result, "__await__") else result
            return count, buffer
        result = getattr(file, name)(*arguments)
        return await result if hasattr(result, "__await__") else result
    except AttributeError:
        return "no such method"
    except TypeError:
        return io.UnsupportedOperation  # of BufferedWriter.read(None), from Python 3.13 on
    except (ValueError, OSError) as error:
        return type(error)


async def compare(folder, case):
    paths = folder / "theirs", folder / "ours"
    for path in paths:
        path.unlink(missing_ok=True)
        if "x" not in case["mode"]:
            path.write_bytes(case["content"])
    with open(paths[0], case["mode"], case["buffering"]) as theirs:
        async with files.open(paths[1], case["mode"], case["buffering"]) as ours:
            for step in case["operations"]:
                if step[0].startswith("read") and case["buffering"]:
                    theirs.flush()  # BufferedRandom.read1() forgets what is unwritten
                    await ours.flush()
                if step[0] in ("tell", "seek") and "a" in case["mode"]:
                    # The position is the end once something is written, and when that is, nobody says.
                    theirs.flush()
                    await ours.flush()
                expected = await do(theirs, *step)
                found = await do(ours, *step)
                if isinstance(found, type) and isinstance(expected, type) and issubclass(found, expected):
                    continue
                if expected is io.UnsupportedOperation and found == "no such method":
                    continue
                if found is io.UnsupportedOperation and not theirs.readable() and step in NOTHING:
                    continue
                if step[0] in ("read1", "readinto1") and isinstance(expected, (bytes, tuple)):
                    # How much is read ahead is not said. What was read too much is given back.
                    sizes = [len(x) if isinstance(x, bytes) else x[0] for x in (expected, found)]
                    assert bool(sizes[0]) == bool(sizes[1]), (step, case)
                    place = theirs.tell() - sizes[0] + min(sizes)
                    theirs.seek(place)
                    await ours.seek(place)
                    continue
                assert found == expected, (step, case)
            theirs.flush()
            await ours.flush()
            assert await do(ours, "tell") == theirs.tell()
    assert paths[1].read_bytes() == paths[0].read_bytes(), case


@pytest.mark.timeout(300)
@SETTINGS
@given(case=CASES)
@pytest.mark.parametrize("engine", ENGINES)
def test_same_as_blocking(engine, tmp_path, case):
    ENGINES[engine](compare(tmp_path, case))
