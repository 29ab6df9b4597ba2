"""The shop's users: they call each region's gateway, and know nothing of telemetry.

    users.py '{"eu-central-1": [port, requests per second], …}'
"""

import http.client
import json
import random
import signal
import sys
import threading
import time


def visit(port, per_second):
    while True:
        time.sleep(random.expovariate(per_second))
        method, path = ("POST", "/buy") if random.random() < 0.6 else ("GET", "/browse")
        threading.Thread(target=request, args=(port, method, path), daemon=True).start()


def request(port, method, path):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path, headers={"content-length": "0"})
        connection.getresponse().read()
    except OSError:
        pass  # users shrug
    finally:
        connection.close()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for settings in json.loads(sys.argv[1]).values():
        threading.Thread(target=visit, args=settings, daemon=True).start()
    signal.pause()
