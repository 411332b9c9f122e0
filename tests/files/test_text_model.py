"""Text files give what io.TextIOWrapper gives: the same operations on both, with the same results and files."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engines import ENGINES
from ioring import files

CODECS = {
    "ascii": "ab\n\r",
    "latin-1": "aé\n\r",
    "utf-8": "aé€😀\n\r",
    "utf-8-sig": "aé€\n\r",
    "utf-16": "aé€😀\n\r",
    "utf-16-be": "a€\n\r",
    "utf-32": "a€😀\n\r",
    "utf-7": "aé€😀+-\n\r",
    "shift_jis": "aあ漢\n\r",
    "euc_jp": "aあ漢\n\r",
    "gb18030": "a漢😀\n\r",
    "cp1252": "a€\n\r",
}
NEWLINES = [None, "", "\n", "\r", "\r\n"]
LIMITS = st.integers(-1, 12)

SETTINGS = settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])


def operations(text):
    return st.lists(
        st.one_of(
            st.tuples(st.just("read"), st.one_of(LIMITS, st.none())),
            st.tuples(st.just("readline"), LIMITS),
            st.tuples(st.just("readlines"), st.just(-1)),  # stopped early, it leaves theirs in an odd state
            st.tuples(st.just("next")),
            st.tuples(st.just("write"), text),
            st.tuples(st.just("writelines"), st.lists(text, max_size=3)),
            st.tuples(st.just("tell")),
            st.tuples(st.just("back"), st.integers(0, 5)),
            st.tuples(st.just("seek"), st.just(0), st.integers(0, 3)),
            st.tuples(st.just("seek"), st.sampled_from([-1, 1]), st.integers(1, 2)),
            st.tuples(st.just("truncate"), st.one_of(st.none(), st.integers(0, 20))),
            st.tuples(st.just("flush")),
            st.tuples(st.just("newlines")),
        ),
        max_size=12,
    )


@st.composite
def cases(draw):
    encoding = draw(st.sampled_from(sorted(CODECS)))
    text = st.text(CODECS[encoding], max_size=12)
    return {
        "encoding": encoding,
        "mode": draw(st.sampled_from(["r", "w", "a", "r+", "w+", "a+", "x", "x+"])),
        "newline": draw(st.sampled_from(NEWLINES)),
        "errors": draw(st.sampled_from([None, "replace", "ignore"])),
        "content": draw(st.one_of(st.text(CODECS[encoding], max_size=40).map(lambda t: t.encode(encoding)))),
        "buffering": draw(st.sampled_from([-1, 1, 20])),
        "operations": draw(operations(text)),
    }


async def outcome(side, name, *arguments):
    """A result, or the kind of exception."""
    try:
        result = side.do(name, *arguments)
        return await result if hasattr(result, "__await__") else result
    except (ValueError, OSError) as error:
        return type(error)


class Ours:
    def __init__(self, file):
        self.file = file

    def do(self, name, *arguments):
        if name == "next":
            return self.file.readline() if self.file.closed else anext(aiter(self.file), "")
        return getattr(self.file, name)(*arguments)


class Theirs(Ours):
    def do(self, name, *arguments):
        # BufferedRandom.read1() forgets what is unwritten, and after readlines() tell() is forbidden until a flush.
        if not name.startswith("write"):
            self.file.flush()
        return getattr(self.file, "readline" if name == "next" else name)(*arguments)


def is_cookie(value):
    """Whether it is a position that is more than a number of bytes: what is in it is nobody's business."""
    return isinstance(value, int) and value >= 1 << 64


async def compare(folder, case):
    options = {name: case[name] for name in ("mode", "encoding", "newline", "errors", "buffering")}
    paths = folder / "theirs", folder / "ours"
    for path in paths:
        path.unlink(missing_ok=True)
        if "x" not in case["mode"]:
            path.write_bytes(case["content"])
    cookies = [(0, 0)]
    moved = False
    with open(paths[0], **options) as theirs:
        async with files.open(paths[1], **options) as ours:
            assert (ours.mode, ours.encoding, ours.errors) == (theirs.mode, theirs.encoding, theirs.errors)
            for name, *arguments in case["operations"]:
                what = name, arguments, case
                moved = moved or name in ("tell", "seek", "back")
                if name == "newlines":
                    if not moved:  # tell() makes theirs forget
                        assert ours.newlines == theirs.newlines, what
                elif name == "tell":
                    found = await outcome(Theirs(theirs), "tell"), await outcome(Ours(ours), "tell")
                    if isinstance(found[0], int):
                        cookies.append(found)
                    else:
                        assert found[0] == found[1], what
                elif name == "back":
                    cookie = cookies[arguments[0] % len(cookies)]
                    found = [
                        await outcome(Theirs(theirs), "seek", cookie[0]),
                        await outcome(Ours(ours), "seek", cookie[1]),
                    ]
                    assert (found[0] == cookie[0]) == (found[1] == cookie[1]), what
                else:
                    if (name, *arguments) == ("truncate", None) or (name[:5] == "write" and case["buffering"] == 20):
                        # That is at the buffer's position, and how much is read ahead is not said.
                        await outcome(Theirs(theirs), "seek", 0, 1)
                        await outcome(Ours(ours), "seek", 0, 1)
                    expected = await outcome(Theirs(theirs), name, *arguments)
                    found = await outcome(Ours(ours), name, *arguments)
                    if not (is_cookie(found) or is_cookie(expected)):
                        assert found == expected, what
                    if isinstance(expected, type) and issubclass(expected, UnicodeError):
                        break  # where theirs is then is not said
            else:
                assert [await outcome(Theirs(theirs), "tell") == 0] == [await outcome(Ours(ours), "tell") == 0]
    assert paths[1].read_bytes() == paths[0].read_bytes(), case


@pytest.mark.timeout(300)
@SETTINGS
@given(case=cases())
@pytest.mark.parametrize("engine", ENGINES)
def test_same_as_blocking(engine, tmp_path, case):
    ENGINES[engine](compare(tmp_path, case))
