"""One service of the demo's shop, in one region, instrumented with the OpenTelemetry SDK.

    service.py '{"service": …, "region": …, "port": …, "agent": …, "calls": {name: [region, port]}}'

gateway -> checkout -> inventory, payments. `POST /degrade?latency_ms=&error_ratio=` makes
a service ill, and well again with zeros: that is what the conductor of the demo does.
"""

import http.client
import http.server
import json
import logging
import random
import signal
import socket
import sys
import threading
import time
import urllib.parse

import telemetry
from opentelemetry import metrics, trace
from opentelemetry.propagate import extract, inject
from opentelemetry.trace import SpanKind, Status, StatusCode

SETTINGS = json.loads(sys.argv[1])
SERVICE, REGION = SETTINGS["service"], SETTINGS["region"]
log = logging.getLogger(SERVICE)
ill = {"latency_ms": 0.0, "error_ratio": 0.0}


class Declined(Exception):
    """The caller's fault, not ours."""


class Instruments:
    def __init__(self):
        meter = metrics.get_meter("shop", "2.4.1")
        self.requests = meter.create_histogram(
            "http.server.request.duration", "s", "Duration of HTTP server requests",
            explicit_bucket_boundaries_advisory=[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5])
        self.orders = meter.create_counter("shop.orders", "{order}", "Orders by outcome")
        self.order_duration = meter.create_histogram("shop.order.duration", "s", "From cart to paid")
        self.stock = meter.create_gauge("shop.stock", "{item}", "Items in stock")


def call(service, method, path):
    """A client span around a real HTTP request that carries the trace's context."""
    region, port = SETTINGS["calls"][service]
    attributes = {"http.request.method": method, "url.full": f"http://{service}.{region}.shop{path}",
                  "server.address": f"{service}.{region}.shop", "server.port": port,
                  "peer.service": service}
    with tracer.start_as_current_span(method, kind=SpanKind.CLIENT, attributes=attributes) as span:
        headers = {"content-length": "0"}
        inject(headers)
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            if region != REGION:
                time.sleep(0.06)  # an ocean
            connection.request(method, path, headers=headers)
            status = connection.getresponse().status
        finally:
            connection.close()
        span.set_attribute("http.response.status_code", status)
        if status >= 400:
            span.set_attribute("error.type", str(status))
            span.set_status(Status(StatusCode.ERROR))
        return status


def database(statement, table):
    attributes = {"db.system.name": "postgresql", "db.collection.name": table,
                  "db.operation.name": statement.split()[0], "db.query.text": statement}
    with tracer.start_as_current_span(f"{statement.split()[0]} {table}", kind=SpanKind.CLIENT,
                                      attributes=attributes):
        time.sleep(random.expovariate(1 / 0.003))


def browse():
    return call("inventory", "GET", "/stock")


def buy():
    return call("checkout", "POST", "/orders")


def order():
    started = time.monotonic()
    number = random.randrange(10**6)
    trace.get_current_span().set_attribute("order.id", number)
    status = call("inventory", "GET", "/stock")
    if status == 200:
        status = call("payments", "POST", "/charges")
    outcome = {200: "paid", 402: "declined"}.get(status, "failed")
    instruments.orders.add(1, {"outcome": outcome})
    instruments.order_duration.record(time.monotonic() - started, {"outcome": outcome})
    if outcome == "failed":
        log.error("order %s failed: payments answered %s", number, status, extra={"order.id": number})
    else:
        log.info("order %s is %s", number, outcome, extra={"order.id": number})
    return status


def charge():
    time.sleep(random.uniform(0.005, 0.02))
    database("INSERT INTO charges VALUES ($1, $2)", "charges")
    if random.random() < 0.03:
        raise Declined("the card was declined")
    if random.random() < 0.005:
        raise TimeoutError("the bank did not answer")
    return 200


def stock():
    database("SELECT amount FROM stock WHERE item = $1", "stock")
    instruments.stock.set(random.randrange(50, 60), {"warehouse": f"{REGION}-1"})
    return 200


ROUTES = {
    "gateway": {("GET", "/browse"): browse, ("POST", "/buy"): buy},
    "checkout": {("POST", "/orders"): order},
    "payments": {("POST", "/charges"): charge},
    "inventory": {("GET", "/stock"): stock},
}[SERVICE]


def answer(handle, span):
    try:
        if ill["latency_ms"]:
            time.sleep(random.expovariate(1000 / ill["latency_ms"]))
        if random.random() < ill["error_ratio"]:
            raise ConnectionError("the primary database refuses connections")
        return handle()
    except Declined as fault:
        span.set_attribute("error.type", "declined")
        log.warning("%s", fault)
        return 402
    except Exception as fault:  # whatever it is, the caller gets an answer
        span.record_exception(fault)
        span.set_status(Status(StatusCode.ERROR, str(fault)))
        span.set_attribute("error.type", type(fault).__name__)
        log.exception("%s", fault)
        return 500


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def handle_any(self):
        url = urllib.parse.urlsplit(self.path)
        if url.path == "/degrade":
            ill.update((key, float(value)) for key, value in urllib.parse.parse_qsl(url.query))
            return self.reply(200)
        handle = ROUTES.get((self.command, url.path))
        if handle is None:
            return self.reply(404)
        self.reply(self.traced(handle, url.path))

    def traced(self, handle, route):
        started = time.monotonic()
        attributes = {"http.request.method": self.command, "http.route": route, "url.path": route,
                      "url.scheme": "http", "network.protocol.version": "1.1"}
        with tracer.start_as_current_span(f"{self.command} {route}", context=extract(self.headers),
                                          kind=SpanKind.SERVER, attributes=attributes) as span:
            status = answer(handle, span)
            span.set_attribute("http.response.status_code", status)
            if status >= 500:
                span.set_status(Status(StatusCode.ERROR))
            # Inside the span: its context becomes the histogram's exemplar.
            instruments.requests.record(time.monotonic() - started, {
                "http.request.method": self.command, "http.route": route,
                "http.response.status_code": status})
        return status

    do_GET = do_POST = handle_any

    def reply(self, status):
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *arguments):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64
    address_family = socket.AF_INET


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the conductor
    stop = telemetry.start(SERVICE, REGION, SETTINGS["agent"])
    tracer, instruments = trace.get_tracer("shop", "2.4.1"), Instruments()
    server = Server(("127.0.0.1", SETTINGS["port"]), Handler)
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serve_forever(poll_interval=0.1)
    stop()
