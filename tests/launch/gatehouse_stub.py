"""The launcher with stand-ins for Gatehouse's own processes; run by the tests as a program, so it can be killed."""

from __future__ import annotations

import sys

from approvals.launch.__main__ import launch
from approvals.launch.options import Commands

WEB = """
import http.server, os
class Ready(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/readyz" else 404)
        self.end_headers()
    def log_message(self, *arguments):
        pass
print("listening", os.getpid(), *sorted(name for name in os.environ if "DATABASE" in name), flush=True)
http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Ready).serve_forever()
"""
WORKER = """
import os, signal
print("working", os.getpid(), *sorted(name for name in os.environ if "DATABASE" in name), flush=True)
signal.pause()
"""
SCRIPTS = {
    "migrate": "print('ok')",
    "seed": "print('ok')",
    "static": "print('ok')",
    "web": WEB,
    "worker": WORKER,
    "failing": "import os; raise ConnectionError('refused for ' + os.environ['DATABASE_OWNER_URL'])",
}

if __name__ == "__main__":
    replaced = dict(argument.split("=") for argument in sys.argv[1:])  # web=failing
    scripts = {name: SCRIPTS[replaced.get(name, name)] for name in ("migrate", "seed", "static", "web", "worker")}
    sys.exit(launch(Commands(**{name: (sys.executable, "-c", script) for name, script in scripts.items()})))
