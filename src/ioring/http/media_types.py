"""The type of a file's content, by its name."""

import mimetypes

KNOWN = {
    ".avif": "image/avif",
    ".br": "application/x-brotli",
    ".css": "text/css",
    ".csv": "text/csv",
    ".gz": "application/gzip",
    ".htm": "text/html",
    ".html": "text/html",
    ".ico": "image/vnd.microsoft.icon",
    ".js": "text/javascript",
    ".json": "application/json",
    ".jsonl": "application/jsonl",
    ".map": "application/json",
    ".md": "text/markdown",
    ".mjs": "text/javascript",
    ".svg": "image/svg+xml",
    ".toml": "application/toml",
    ".ts": "text/plain",
    ".txt": "text/plain",
    ".wasm": "application/wasm",
    ".webmanifest": "application/manifest+json",
    ".webp": "image/webp",
    ".woff": "font/woff",
    ".woff2": "font/woff2",
    ".xml": "text/xml",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
    ".zst": "application/zstd",
}
"""What must not depend on the machine: mimetypes reads its files, too."""


def type_of(name: bytes) -> bytes:
    """The value of content-type for a name, as bytes."""
    text = name.decode("utf-8", "replace")
    _, dot, ending = text.rpartition(".")
    kind = KNOWN.get("." + ending.lower()) if dot else None
    if kind is None:
        kind, coding = mimetypes.guess_type("/" + text.rpartition("/")[2])
        if kind is None or coding is not None:
            kind = "application/octet-stream"
    if kind.startswith("text/"):
        kind += "; charset=utf-8"
    return kind.encode("latin-1", "replace")
