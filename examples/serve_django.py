"""Django on ioring, in one file: its ASGI application, with a view that waits without a thread.

pip install django
ioring serve serve_django:app --app-dir examples
"""

import asyncio

import django
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path

settings.configure(ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, SECRET_KEY="only an example")
django.setup()


async def hello(request: HttpRequest) -> HttpResponse:
    return HttpResponse(f"hello {request.GET.get('name', 'world')}\n")


async def slow(request: HttpRequest) -> JsonResponse:
    await asyncio.sleep(0.01)
    return JsonResponse({"waited": True})


urlpatterns = [path("", hello), path("slow", slow)]
app = get_asgi_application()
