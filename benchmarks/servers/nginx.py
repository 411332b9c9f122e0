"""nginx with a folder: writes its configuration and becomes it.

Arguments: the port, the folder, one for its own files.
"""

import os
import sys

CONFIGURATION = """
{user}
worker_processes 1;
daemon off;
pid {own}/nginx.pid;
error_log stderr crit;
events {{
    worker_connections 16384;
}}
http {{
    sendfile on;
    tcp_nopush on;
    access_log off;
    default_type application/octet-stream;
    keepalive_requests 1000000000;
    keepalive_timeout 600s;
    client_body_temp_path {own}/body;
    proxy_temp_path {own}/proxy;
    fastcgi_temp_path {own}/fastcgi;
    uwsgi_temp_path {own}/uwsgi;
    scgi_temp_path {own}/scgi;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        root {folder};
    }}
}}
"""


def main():
    port, folder, own = sys.argv[1:]
    os.makedirs(own, exist_ok=True)
    # The workers of a root's nginx would be another user, who cannot read the folder.
    user = "user root;" if os.geteuid() == 0 else ""
    path = os.path.join(own, "nginx.conf")
    with open(path, "w") as file:
        file.write(CONFIGURATION.format(port=port, folder=folder, own=own, user=user))
    os.environ["PATH"] += ":/usr/sbin"
    os.execvp("nginx", ("nginx", "-e", "stderr", "-p", own, "-c", path))


if __name__ == "__main__":
    main()
