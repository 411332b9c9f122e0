"""Sub-interpreters: importing says that it is not possible there, and does not take it away from the main one."""

import pytest

from rings import python

SCRIPT = """
import sys
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters

CODE = '''
try:
    import ioring
except ImportError as error:
    assert "sub-interpreter" in str(error) and error.name == "ioring", error
    print("refused")
else:
    print("imported")
'''

if {first}:
    import ioring
{make}
if sys.version_info >= (3, 13):
    error = interpreters.run_string(one, CODE)
    assert error is None, error
else:
    interpreters.run_string(one, CODE)
interpreters.destroy(one)
import ioring, asyncio
print(ioring.run(asyncio.sleep(0, "works here")))
"""

KINDS = {
    "shared GIL": """
if sys.version_info >= (3, 13):
    one = interpreters.create("legacy")
elif sys.version_info >= (3, 12):
    one = interpreters.create(isolated=False)
else:
    one = interpreters.create()
""",
    "own GIL": "one = interpreters.create()  # from 3.12 on",
}


@pytest.mark.parametrize("first", [True, False], ids=["after the main one", "before the main one"])
@pytest.mark.parametrize("kind", KINDS)
def test_refused_in_words(kind, first):
    said = python(SCRIPT.format(first=first, make=KINDS[kind]), prelude="")
    assert said == "refused\nworks here\n"
