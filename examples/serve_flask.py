"""Flask on ioring, in threads: WSGI is found out by itself.

    pip install flask
    ioring serve serve_flask:app --app-dir examples

Try it with `curl -F file=@README.md 127.0.0.1:8000/upload`.
"""

import hashlib

from flask import Flask, request

app = Flask(__name__)


@app.get("/")
def hello() -> str:
    return f"hello {request.args.get('name', 'world')}\n"


@app.post("/upload")
def upload() -> dict[str, str | int]:
    data = request.files["file"].read()
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
