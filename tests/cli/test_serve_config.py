"""Options of `ioring serve` in a file, where each comes from, and checking them without serving."""

import dataclasses
import re
import tomllib

import pytest

import ioring
from ioring.http import Configuration, ConfigurationError
from ioring.http.option_listing import listing, toml
from serving import APPLICATION, Serving, command, refused


def printed(*arguments, **options):
    """What a command prints that ends well."""
    done = command(*arguments, **options)
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout


def made(path, given=(), environment=()):
    return Configuration.from_environment({"config": path, **dict(given)}, dict(environment))


EVERYTHING = """
app = "main:app"
workers = 2
access-log = false
log_format = "json"
timeout-body = 5
timeout-head = 2.5
limit-max-memory = "1G"
limit-body = 1000
healthz = "/healthz"
forwarded-allow-ips = ["10.0.0.1", "unix"]
reload-dir = ["a", "b"]
ssl-keyfile-password = "secret"
[mount]
"/static" = "public"
"/more" = "."
"""


def test_every_type(tmp_path):
    path = tmp_path / "serve.toml"
    path.write_text(EVERYTHING)
    found = made(path)
    assert (found.target, found.workers, found.access_log, found.log_format) == ("main:app", 2, False, "json")
    assert (found.timeout_body, found.timeout_head, found.limit_max_memory) == (5.0, 2.5, 1 << 30)
    assert (found.forwarded_allow_ips, found.reload_dir) == ("10.0.0.1,unix", ("a", "b"))
    assert found.mount == ("/static=public", "/more=.")
    assert set(found.origins.values()) == {str(path), "command line"}  # that is the file itself


def test_the_server_reads_it(tmp_path):
    (tmp_path / "serve.toml").write_text('app = "main:app"\nport = 0\nhealthz = "/up"\nworkers = 2\n')
    with Serving(tmp_path, "--config", "serve.toml", port=False) as server:
        assert server.get("/up") == "alive\n"
        server.wait_for("serves main:app on .* with 2 workers")
    with Serving(tmp_path, environment={"IORING_CONFIG": "serve.toml"}) as server:
        assert server.get("/up") == "alive\n"


def test_pyproject(tmp_path):
    path = tmp_path / "pyproject.toml"
    path.write_text('[project]\nname = "a"\n[tool.ioring.serve]\napp = "main:app"\nport = 0\nhealthz = "/up"\n')
    with Serving(tmp_path, "--config", "pyproject.toml", port=False) as server:
        assert server.get("/up") == "alive\n"
    for text in ('[project]\nname = "a"\n', '[tool]\nioring = "x"\n', "[tool.ioring.serve]\n"):
        path.write_text(text)
        with pytest.raises(ConfigurationError, match=r"pyproject\.toml has no table \[tool\.ioring\.serve\]"):
            made(path)


def test_what_comes_first(tmp_path):
    path = tmp_path / "serve.toml"
    path.write_text('app = "file:app"\nport = 1\nworkers = 3\ntimeout-body = 4\nbacklog = 5\n')
    (tmp_path / "env").write_text("IORING_BACKLOG=6\n")
    given = {"port": 10, "env_file": tmp_path / "env"}
    found = made(path, given, {"IORING_PORT": "20", "IORING_TIMEOUT_BODY": "21", "WEB_CONCURRENCY": "2"})
    assert (found.target, found.port, found.workers, found.timeout_body) == ("file:app", 10, 2, 21)
    assert found.backlog == 6
    assert found.origins["port"] == "command line"
    assert found.origins["timeout_body"] == "IORING_TIMEOUT_BODY"
    assert found.origins["workers"] == "WEB_CONCURRENCY"
    assert found.origins["backlog"] == f"IORING_BACKLOG in {tmp_path / 'env'}"
    assert found.origins["target"] == str(path)
    assert "limit_body" not in found.origins
    assert made(path, {"target": "command:app"}).target == "command:app"


def test_addresses_of_two_sources(tmp_path):
    path = tmp_path / "serve.toml"
    path.write_text('bind = ["a:1", "unix:s"]\n')
    assert made(path).bind == ("a:1", "unix:s")
    assert made(path, {"port": 80}).bind == ()
    assert made(path, {}, {"PORT": "80"}).bind == ()  # which is a source before the file
    path.write_text('host = "::"\nport = 1\n')
    assert made(path, {"bind": ("a:1",)}).host == "127.0.0.1"
    assert (made(path, {"port": 2}).host, made(path, {"port": 2}).port) == ("::", 2)
    path.write_text('bind = "a:1"\nport = 1\n')
    with pytest.raises(ConfigurationError, match="bind: say either that or port"):
        made(path)


def test_variables_of_a_file_that_the_file_names(tmp_path):
    (tmp_path / "env").write_text("IORING_BACKLOG=6\nGREETING=hello\n")
    path = tmp_path / "serve.toml"
    path.write_text(f'env-file = "{tmp_path / "env"}"\nbacklog = 5\n')
    environment = {}
    found = Configuration.from_environment({"config": path}, environment)
    assert (found.backlog, environment["GREETING"]) == (6, "hello")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("prot = 1", "prot: there is no such option"),
        ("target = 'a'", "target: there is no such option"),
        ("port = '80'", "port: '80': a whole number is wanted"),
        ("port = true", "port: True: a whole number is wanted"),
        ("port = 1.5", "port: 1.5: a whole number is wanted"),
        ("timeout-body = 'long'", "timeout-body: 'long': a number is wanted"),
        ("access-log = 'no'", "access-log: 'no': true or false is wanted"),
        ("host = 1", "host: 1: a text is wanted"),
        ("umask = 0o27", "umask: 23: a text is wanted"),
        ("app = 1", "app: 1: text is wanted"),
        ("reload-dir = [1]", r"reload-dir: \[1\]: a list of texts is wanted"),
        ("limit-max-memory = 1.5", "limit-max-memory: 1.5: a number of bytes, or a text, is wanted"),
        ("[mount]\n'/a' = 1", "mount: {'/a': 1}: a table of texts is wanted"),
        ("port = 1990-01-01", "port: .*: a whole number is wanted"),
        ("config = 'other'", "config: one file cannot name another"),
        ("log-format = 'json'\nlog_format = 'json'", "log_format is there twice"),
        ("port =", r"is no TOML: Invalid value \(at "),
    ],
)
def test_what_a_file_cannot_have(tmp_path, text, words):
    path = tmp_path / "serve.toml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=rf"{re.escape(str(path))}.*{words}"):
        made(path)


def test_values_that_cannot_be(tmp_path):
    (tmp_path / "serve.toml").write_text("log-format = 'xml'\n")
    assert "log_format: 'xml' is none of plain, json" in refused("--config", "serve.toml", cwd=tmp_path)
    assert "config: /nowhere: No such file or directory" in refused("--config", "/nowhere")
    (tmp_path / "serve.toml").write_bytes(b"app = '\xff'")
    assert "serve.toml is no TOML" in refused("--config", "serve.toml", cwd=tmp_path)


def test_what_is_in_force(tmp_path):
    (tmp_path / "serve.toml").write_text(EVERYTHING)
    environment = {"PORT": "8080", "IORING_DRAIN": "3"}
    said = printed("--config", "serve.toml", "--print-config", "--host", "::", cwd=tmp_path, environment=environment)
    lines = said.splitlines()
    assert 'app = "main:app"  # serve.toml' in lines
    assert 'host = "::"  # command line' in lines
    assert "port = 8080  # PORT" in lines
    assert "drain = 3.0  # IORING_DRAIN" in lines
    assert "backlog = 2048  # default" in lines
    assert "secret" not in said
    assert "# ssl-keyfile-password is set, by: serve.toml" in lines
    # It is a file that says the same.
    (tmp_path / "again.toml").write_text(said)
    again = made(tmp_path / "again.toml")
    first = made(tmp_path / "serve.toml", {"host": "::"}, environment)
    different = {
        field.name
        for field in dataclasses.fields(Configuration)
        if field.compare and getattr(again, field.name) != getattr(first, field.name)
    }
    assert different == {"config", "ssl_keyfile_password"}


def test_every_option_is_listed():
    keys = {line.partition(" ")[0].replace("-", "_") for line in listing(Configuration(target="main:app")).splitlines()}
    assert keys == {field.name for field in dataclasses.fields(Configuration) if field.metadata} - {"config"} | {"app"}


@pytest.mark.parametrize("text", ["", 'a"b\\c', "line\nend\ttab\x7f\x1b", "ünï \U0001f600", "# no comment"])
def test_texts(text):
    assert tomllib.loads(f"a = {toml(text)}") == {"a": text}


def test_check(tmp_path):
    (tmp_path / "main.py").write_text(APPLICATION)
    with Serving(tmp_path, "main:app") as server:  # also while the address is taken
        said = printed(
            "main:app", "--check", "--port", str(server.port), "--pidfile", "pid", "--uds", "s", cwd=tmp_path
        )
    assert said == "ioring serve: the configuration is in order\n"
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "__pycache__") == ["main.py"]
    both = printed("main:app", "--check", "--print-config", cwd=tmp_path)
    assert both.startswith('app = "main:app"  # command line\n')
    assert both.endswith("in order\n")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("missing:app",), "no module 'missing'"),
        (("missing:app", "--workers", "2"), "no module 'missing'"),
        (("main:other",), "main has no 'other'"),
        (("main:app", "--ssl-certfile", "/nowhere"), "/nowhere: No such file"),
        (("main:app", "--user", "no-such-user"), "there is no user 'no-such-user'"),
        (("main:app", "--uds-owner", "no-such-user"), "there is no user 'no-such-user'"),
        (("main:app", "--mount", "/static=/nowhere"), "/nowhere"),
        (("main:app", "--chdir", "/nowhere"), "chdir: /nowhere"),
        (("main:app", "--forwarded-allow-ips", "x"), "'x'"),
        (("/nowhere/",), "/nowhere/: no such folder"),
    ],
)
def test_check_of_what_cannot_be(tmp_path, arguments, words):
    (tmp_path / "main.py").write_text(APPLICATION)
    assert words in refused(*arguments, "--check", cwd=tmp_path)


def test_from_python(tmp_path):
    (tmp_path / "serve.toml").write_text('app = "main:app"\nworkers = 2\nbacklog = 5\n')
    found = Configuration.of_program(None, {"config": tmp_path / "serve.toml", "backlog": 6})
    assert (found.target, found.workers, found.backlog) == ("main:app", 2, 6)
    with pytest.raises(ConfigurationError, match="nothing: there is no such option"):
        ioring.serve(nothing=1)
