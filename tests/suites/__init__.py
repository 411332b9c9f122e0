"""Event-loop tests that others wrote, run on a loop that is named: CPython's own, and those of uvloop.

`python -m suites --help` in this folder's parent runs them by hand; `docs/compatibility.md` says what is run, and what
is not. A module of tests runs in a process of its own: it changes asyncio in ways that no other test should see, a test
in it may hang or crash, and it is not held to this project's warnings and leak checks.

    loops       the loops there are, and the proof that a test used one
    cpython     how a loop gets under CPython's tests
    uvloop      how a loop gets under uvloop's tests, and where those come from
    autobahn    Autobahn's fuzzing client for WebSockets, which is no test of loops and runs by itself
    skips       what is left out, from skips.txt, with reasons
    child       the process that runs one module
    runs        starts it, and goes on after a test that hung or crashed
    report      the tables of docs/compatibility.md

The HTTP server gets what others wrote, too:

    uvicorn     where uvicorn's tests come from, and how they are run; shim_uvicorn stands in for what they test
    corpora     requests out of the tests of gunicorn, h11 and llhttp; corpora.txt says where we differ
    report_http the tables about these
"""
