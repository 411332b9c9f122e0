"""Django under `ioring serve`, by ASGI and by WSGI: the admin with its files, sessions, streams and uploads."""

import http.cookiejar
import re
import subprocess
import sys
import urllib.parse
import urllib.request

import pytest

from served import MARKS, Serving, asked, need, nothing_went_wrong

pytestmark = MARKS


@pytest.fixture(autouse=True)
def loop_name():
    """Once: the server names its loop itself."""


SETTINGS = """
import asyncio, os, sys
import django
from django.conf import settings
from django.http import HttpResponse, StreamingHttpResponse

HERE = os.path.dirname(os.path.abspath(__file__))
settings.configure(
    SECRET_KEY="x" * 60,
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF="main",
    STATIC_URL="/static/",
    STATIC_ROOT=os.path.join(HERE, "files"),
    USE_TZ=True,
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.path.join(HERE, "data")}},
    INSTALLED_APPS=[
        "django.contrib.admin", "django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions",
        "django.contrib.messages", "django.contrib.staticfiles",
    ],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware", "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
    ],
    TEMPLATES=[{
        "BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True,
        "OPTIONS": {"context_processors": [
            "django.template.context_processors.request", "django.contrib.auth.context_processors.auth",
            "django.contrib.messages.context_processors.messages",
        ]},
    }],
)
django.setup()
from django.contrib import admin
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

@csrf_exempt
def upload(request):
    return HttpResponse(str(len(request.FILES["file"].read())))

def stream(request):
    return StreamingHttpResponse(f"{number}," for number in range(3))

urlpatterns = [path("admin/", admin.site.urls), path("upload", upload), path("stream", stream)]
asgi, wsgi = get_asgi_application(), get_wsgi_application()

if __name__ == "__main__":
    from django.core.management import call_command
    call_command("migrate", verbosity=0)
    call_command("collectstatic", interactive=False, verbosity=0)
    from django.contrib.auth.models import User
    User.objects.create_superuser("root", "root@example.org", "secret")
"""


@pytest.mark.parametrize("interface", ["asgi", "wsgi"])
def test_django(tmp_path, interface):
    need("django")
    (tmp_path / "main.py").write_text(SETTINGS)
    subprocess.run([sys.executable, "main.py"], cwd=tmp_path, check=True)
    options = ("--interface", interface, "--mount", "/static=./files")
    with Serving(tmp_path, f"main:{interface}", *options, application=SETTINGS) as server:
        opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))
        url = f"http://127.0.0.1:{server.port}"
        with opener.open(f"{url}/admin/login/", timeout=20) as response:
            page = response.read().decode()
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page)[1]
        form = {"csrfmiddlewaretoken": token, "username": "root", "password": "secret", "next": "/admin/"}
        with opener.open(f"{url}/admin/login/", urllib.parse.urlencode(form).encode(), timeout=20) as response:
            page = response.read().decode()
            assert response.url == f"{url}/admin/"
        assert "Site administration" in page
        sheets = re.findall(r'href="(/static/[^"]+\.css)"', page)
        assert sheets
        for sheet in sheets:
            with opener.open(url + sheet, timeout=20) as response:
                assert response.headers["content-type"].startswith("text/css")
                assert response.read()
        border = b"boundary"
        body = b'--%b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n%b\r\n--%b--\r\n'
        body %= (border, bytes(500_000), border)
        assert asked(server, "/upload", body, {"Content-Type": "multipart/form-data; boundary=boundary"}) == b"500000"
        assert asked(server, "/stream") == b"0,1,2,"
    nothing_went_wrong(server)
