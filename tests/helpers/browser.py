"""Chromium without a window, led by its own protocol for developers (DevTools) over two pipes.

A ``Browser`` owns the process and the pipes. What its pages report meanwhile is kept in ``events``, in their order.
"""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time

import needed
from serving import without_preloaded

WAIT_S = 60
OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars"),
    *(
        "--ignore-certificate-errors",
        "--disable-features=BackForwardCache",
        "--autoplay-policy=no-user-gesture-required",
        "--remote-debugging-pipe",
    ),
)

STARTER = """
import os, sys
from fcntl import F_DUPFD, fcntl
ends = [fcntl(int(end), F_DUPFD, 10) for end in sys.argv[1:3]]
for place, end in zip((3, 4), ends):
    os.dup2(end, place)
os.execv(sys.argv[3], sys.argv[3:])
"""
"""Puts the pipes where Chromium looks for them."""


PROGRAMS = ("chromium", "chromium-browser")


class Browser:
    def __init__(self, folder):
        commands, self.write_end = os.pipe()
        self.read_end, answers = os.pipe()
        self.events = []
        self._data = b""
        self._answers = {}
        self._number = 0
        starter = [sys.executable, "-c", STARTER, str(commands), str(answers)]
        self.process = subprocess.Popen(
            [*starter, needed.program(*PROGRAMS), *OPTIONS, f"--user-data-dir={folder}", "about:blank"],
            pass_fds=(commands, answers),
            env=without_preloaded(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(commands)
        os.close(answers)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            with contextlib.suppress(OSError, AssertionError):
                self.ask("Browser.close")
                self.process.wait(WAIT_S)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)  # the session is our own
            self.process.wait(WAIT_S)
            os.close(self.read_end)
            os.close(self.write_end)

    def ask(self, method, session=None, **parameters):
        """The answer to one of the protocol's methods."""
        self._number += 1
        number = self._number
        message = {"id": number, "method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self.write_end, data) :]
        self.receive_until(lambda: number in self._answers)
        answer = self._answers.pop(number)
        assert "error" not in answer, (method, answer["error"])
        return answer["result"]

    def receive_until(self, condition):
        deadline = time.monotonic() + WAIT_S
        while not condition():
            left = deadline - time.monotonic()
            assert left > 0 and select.select([self.read_end], [], [], left)[0], (
                "chromium says nothing",
                self.events[-5:],
            )
            part = os.read(self.read_end, 1 << 20)
            assert part, "chromium has ended"
            *whole, self._data = (self._data + part).split(b"\0")
            for each in whole:
                message = json.loads(each)
                if "id" in message:
                    self._answers[message["id"]] = message
                else:
                    self.events.append(message)

    def page(self):
        return Page(self)


class Page:
    """A tab that shares neither cache nor anything else with others."""

    def __init__(self, browser):
        self.browser = browser
        self.context = browser.ask("Target.createBrowserContext")["browserContextId"]
        target = browser.ask("Target.createTarget", url="about:blank", browserContextId=self.context)["targetId"]
        self.session = browser.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.ask(f"{domain}.enable")

    def close(self):
        """Closes it, with its connections."""
        if self.context is None:
            return
        self.browser.ask("Target.disposeBrowserContext", browserContextId=self.context)
        self.browser.events.clear()
        self.context = None

    def ask(self, method, **parameters):
        return self.browser.ask(method, self.session, **parameters)

    def events(self, method):
        """What was reported of one kind."""
        known = [event for event in self.browser.events if event.get("sessionId") == self.session]
        return [event["params"] for event in known if event["method"] == method]

    def loaded_by(self, action):
        """Does something that loads a page, and waits for its end."""
        count = len(self.events("Page.loadEventFired"))
        action()
        self.browser.receive_until(lambda: len(self.events("Page.loadEventFired")) > count)

    def open(self, url):
        self.loaded_by(lambda: self.ask("Page.navigate", url=url))

    def leave_by(self, source):
        """Runs what leads to another page, and waits for that; later, since nothing is answered in between."""
        self.loaded_by(lambda: self.evaluate(f"void setTimeout(() => {{ {source} }})"))

    def evaluate(self, source):
        """What an expression is; of a promise, what comes of it."""
        answer = self.ask("Runtime.evaluate", expression=source, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def until(self, source):
        """Waits until an expression is true; its value."""
        return self.evaluate(
            f"""new Promise((fulfil, reject) => {{
                const begin = Date.now();
                const look = async () => {{
                    const value = await ({source});
                    if (value) fulfil(value);
                    else if (Date.now() - begin > {WAIT_S * 900}) reject(new Error("in vain"));
                    else setTimeout(look, 20);
                }};
                look();
            }})"""
        )

    def resize(self, width, height):
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=True)

    def troubles(self):
        """Errors and warnings of the console, exceptions, and what could not be loaded."""
        said = [event for event in self.events("Runtime.consoleAPICalled") if event["type"] in ("error", "warning")]
        logged = [event["entry"] for event in self.events("Log.entryAdded")]
        logged = [entry for entry in logged if entry["level"] in ("error", "warning")]
        # A page without an icon of its own makes it ask for one.
        logged = [entry for entry in logged if not entry.get("url", "").endswith("/favicon.ico")]
        return said + logged + self.events("Runtime.exceptionThrown") + self.events("Network.loadingFailed")

    def responses(self):
        """What was received since the last call: triples of a URL, its status on the wire, and whether it was not asked
        for but taken from the cache."""
        wire = {event["requestId"]: event["statusCode"] for event in self.events("Network.responseReceivedExtraInfo")}
        cached = {event["requestId"] for event in self.events("Network.requestServedFromCache")}
        found = []
        for event in self.events("Network.responseReceived"):
            response = event["response"]
            kept = response.get("fromDiskCache", False) or event["requestId"] in cached
            found.append((response["url"], wire.get(event["requestId"], response["status"]), kept))
        return found
