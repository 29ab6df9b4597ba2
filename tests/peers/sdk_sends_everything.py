"""Sends everything that OTLP can say, and writes down what it sent.

    sdk_sends_everything.py grpc|http ENDPOINT CAPTURE.json

First through the public API of the OpenTelemetry SDK, then, for what the SDK never says,
as messages made from OTLP's own definitions. CAPTURE.json is
{"traces": [...], "logs": [...], "metrics": [...]}, each an export request as OTLP JSON.
"""

import base64
import importlib
import json
import logging
import os
import sys
import time
import urllib.request

import grpc
from google.protobuf.json_format import MessageToDict
from opentelemetry import _logs, metrics, trace
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.metrics import Observation
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2, logs_service_pb2_grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.common.v1 import common_pb2 as common
from opentelemetry.proto.logs.v1 import logs_pb2
from opentelemetry.proto.metrics.v1 import metrics_pb2
from opentelemetry.proto.resource.v1 import resource_pb2
from opentelemetry.proto.trace.v1 import trace_pb2
from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, SpanKind, Status, StatusCode

PROTOCOL, ENDPOINT, CAPTURE = sys.argv[1:4]
IDS = {"traceId", "spanId", "parentSpanId"}
sent = {"traces": [], "logs": [], "metrics": []}


def otlp_json(message):
    """OTLP's JSON differs from protobuf's in two points: hexadecimal ids, enums as integers."""

    def hexadecimal(value):
        if isinstance(value, dict):
            return {key: base64.b64decode(inner).hex() if key in IDS else hexadecimal(inner)
                    for key, inner in value.items()}
        return [hexadecimal(inner) for inner in value] if isinstance(value, list) else value

    return hexadecimal(MessageToDict(message, use_integers_for_enums=True))


def captured(signal, module, function):
    """The exporter of a signal, which notes every request that it encodes."""
    module = importlib.import_module(f"opentelemetry.exporter.otlp.proto.{PROTOCOL}.{module}")
    encode = getattr(module, function)

    def noting(*arguments):
        request = encode(*arguments)
        sent[signal].append(otlp_json(request))
        return request

    setattr(module, function, noting)
    return module


def exporter(module, name, path):
    if PROTOCOL == "grpc":
        return getattr(module, name)(endpoint=ENDPOINT, insecure=True)
    return getattr(module, name)(endpoint=f"http://{ENDPOINT}{path}")


ATTRIBUTES = {
    "text": "a", "empty": "", "unicode": "Zürich 東京 \U0001f600", "quote": "\"\\\n\t\u0001",
    "int": 42, "int.max": 2**63 - 1, "int.min": -2**63, "zero": 0, "true": True, "false": False,
    "double": 0.1, "double.whole": 1.0, "double.tiny": 5e-324, "double.huge": 1.7976931348623157e308,
    "double.negative_zero": -0.0, "double.infinity": float("inf"), "double.nan": float("nan"),
    "texts": ["a", "b"], "ints": [1, -2], "doubles": [1.0, 2.5], "flags": [True, False], "none": [],
    "http.request.method": "GET", "http.route": "/orders/{id}", "http.response.status_code": 503,
    # Promoted keys whose values have an unexpected type.
    "server.address": 7, "error.type": "timeout", "db.system.name": ["postgresql"],
}


def send_traces(resource):
    module = captured("traces", "trace_exporter", "encode_spans")
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(exporter(module, "OTLPSpanExporter", "/v1/traces")))
    trace.set_tracer_provider(provider)
    tracer = provider.get_tracer("lossless", "1.2.3", "https://opentelemetry.io/schemas/1.30.0",
                                 {"scope.attribute": 1})
    with tracer.start_as_current_span("parent", kind=SpanKind.SERVER, attributes=ATTRIBUTES) as parent:
        parent.add_event("with attributes", ATTRIBUTES)
        parent.add_event("", timestamp=1)
        link = Link(parent.get_span_context(), {"link.attribute": [1.5]})
        with tracer.start_as_current_span("child", kind=SpanKind.CLIENT, links=[link]) as child:
            child.set_status(Status(StatusCode.ERROR, "it broke"))
            try:
                raise ValueError("broken")
            except ValueError as fault:
                child.record_exception(fault)
        for kind in SpanKind:
            provider.get_tracer("").start_span("", kind=kind).end()
        parent.set_status(Status(StatusCode.OK))
    return provider


def send_logs(resource):
    module = captured("logs", "_log_exporter", "encode_logs")
    provider = LoggerProvider(resource=resource)
    provider.add_log_record_processor(
        BatchLogRecordProcessor(exporter(module, "OTLPLogExporter", "/v1/logs")))
    _logs.set_logger_provider(provider)
    logger = provider.get_logger("lossless", "1", "https://opentelemetry.io/schemas/1.30.0")
    bodies = ["text", "", 7, -1.5, True, b"\x00\xff", [1, "two", [3.0, None]], {"a": {"b": [b"c", {}]}}, None]
    for number, body in enumerate(bodies):
        logger.emit(LogRecord(timestamp=time.time_ns() + number, observed_timestamp=time.time_ns(),
                              severity_number=SeverityNumber(number + 1), severity_text="S", body=body,
                              attributes=ATTRIBUTES, event_name="event" if number % 2 else None))
    handler = LoggingHandler(logger_provider=provider)
    log = logging.getLogger("lossless")
    log.addHandler(handler)
    with trace.get_tracer("lossless").start_as_current_span("logs"):
        log.warning("correlated with %s", "a trace", extra={"order": 42})
    return provider


def send_metrics(resource):
    module = captured("metrics", "metric_exporter", "encode_metrics")
    reader = PeriodicExportingMetricReader(exporter(module, "OTLPMetricExporter", "/v1/metrics"),
                                           export_interval_millis=3_600_000)
    exponential = View(instrument_type=Histogram, instrument_name="exponential",
                       aggregation=ExponentialBucketHistogramAggregation())
    provider = MeterProvider([reader], resource=resource, views=[exponential])
    meter = provider.get_meter("lossless", "1", "https://opentelemetry.io/schemas/1.30.0", {"a": "b"})
    with trace.get_tracer("lossless").start_as_current_span("exemplars"):
        counter = meter.create_counter("counter", "1", "counts things")
        counter.add(5, {"text": "a", "int": 1})
        counter.add(7, {"text": "b", "double": 1.0, "texts": ["x"]})
        meter.create_up_down_counter("up_down", "By").add(-2.5)
        meter.create_gauge("gauge").set(2**53 + 1, {"true": True})
        meter.create_observable_gauge("observed", [lambda options: [Observation(0.25, {"k": "v"})]])
        classic = meter.create_histogram("classic", "s", explicit_bucket_boundaries_advisory=[0.1, 1.0, 10.0])
        exponents = meter.create_histogram("exponential", "s")
        for value in [0.0, 0.001, 0.05, 0.5, 5.0, 50.0, 1e9]:
            classic.record(value, {"http.route": "/a"})
            exponents.record(value, {"http.route": "/a"})
    return provider


def pair(key, value=None):
    return common.KeyValue(key=key, value=value)


def by_hand():
    """What OTLP can say and the SDK does not."""
    any_value = common.AnyValue
    array = any_value(array_value=common.ArrayValue(values=[
        any_value(int_value=1), any_value(double_value=1.0), any_value(), any_value(bytes_value=b"\xff"),
        any_value(double_value=float("nan")), any_value(array_value=common.ArrayValue())]))
    tree = any_value(kvlist_value=common.KeyValueList(values=[
        pair("$first", any_value(string_value="x")), pair("twice", any_value(int_value=1)),
        pair("twice", array), pair("no value"), pair("", any_value(bool_value=False))]))
    attributes = [pair("bytes", any_value(bytes_value=b"\x00\x01")), pair("array", array), pair("tree", tree),
                  pair("empty", any_value()), pair("no value"), pair("twice", any_value(int_value=1)),
                  pair("twice", any_value(string_value="again")), pair("", any_value(string_value="no key")),
                  pair("empty.tree", any_value(kvlist_value=common.KeyValueList())),
                  pair("http.route", any_value(int_value=5))]
    resource = resource_pb2.Resource(
        attributes=[pair("service.name", any_value(string_value="by-hand")), *attributes],
        dropped_attributes_count=3,
        entity_refs=[common.EntityRef(schema_url="s", type="service", id_keys=["service.name"],
                                      description_keys=["tree"])])
    scope = common.InstrumentationScope(name="hand", version="9", attributes=attributes,
                                        dropped_attributes_count=4)
    now = time.time_ns()
    trace_id, other, span_id = os.urandom(16), os.urandom(16), os.urandom(8)
    span = trace_pb2.Span(
        trace_id=trace_id, span_id=span_id, parent_span_id=os.urandom(8), trace_state="a=1,b=2",
        flags=0x301, name="by hand", kind=7, start_time_unix_nano=now, end_time_unix_nano=now - 5,
        attributes=attributes, dropped_attributes_count=1, dropped_events_count=2, dropped_links_count=2**32 - 1,
        events=[trace_pb2.Span.Event(time_unix_nano=now + 1, name="e", attributes=attributes,
                                     dropped_attributes_count=9), trace_pb2.Span.Event()],
        links=[trace_pb2.Span.Link(trace_id=other, span_id=os.urandom(8), trace_state="c=3", flags=2**32 - 1,
                                   attributes=attributes, dropped_attributes_count=8)],
        status=trace_pb2.Status(code=2, message="no"))
    bare = trace_pb2.Span(trace_id=trace_id, span_id=os.urandom(8), start_time_unix_nano=now,
                          end_time_unix_nano=now + 999_999_999_999)
    spans = trace_service_pb2.ExportTraceServiceRequest(resource_spans=[
        trace_pb2.ResourceSpans(resource=resource, schema_url="https://a", scope_spans=[
            trace_pb2.ScopeSpans(scope=scope, schema_url="https://b", spans=[span])]),
        trace_pb2.ResourceSpans(scope_spans=[trace_pb2.ScopeSpans(spans=[bare])])])

    records = [
        logs_pb2.LogRecord(time_unix_nano=now + 1, observed_time_unix_nano=now + 2, severity_number=24,
                           severity_text="worst", body=tree, attributes=attributes,
                           dropped_attributes_count=5, flags=1, trace_id=trace_id, span_id=span_id,
                           event_name="by.hand"),
        logs_pb2.LogRecord(observed_time_unix_nano=now + 3, body=any_value()),
        logs_pb2.LogRecord(time_unix_nano=now + 4, severity_number=99),
    ]
    logs = logs_service_pb2.ExportLogsServiceRequest(resource_logs=[
        logs_pb2.ResourceLogs(resource=resource, schema_url="https://a", scope_logs=[
            logs_pb2.ScopeLogs(scope=scope, schema_url="https://b", log_records=records)])])

    times = {"start_time_unix_nano": now - 10**9 + 1, "time_unix_nano": now + 123}
    exemplars = [metrics_pb2.Exemplar(filtered_attributes=attributes, time_unix_nano=now, as_double=-0.5,
                                      span_id=span_id, trace_id=trace_id),
                 metrics_pb2.Exemplar(time_unix_nano=now + 1, as_int=-(2**63))]
    point = metrics_pb2.NumberDataPoint
    numbers = [point(as_int=-(2**63), attributes=attributes, exemplars=exemplars, **times),
               point(as_double=float("nan"), time_unix_nano=now), point(flags=1, time_unix_nano=now + 1),
               point(as_int=0, time_unix_nano=now + 2), point(as_double=0.0, time_unix_nano=now + 3)]
    buckets = metrics_pb2.ExponentialHistogramDataPoint.Buckets
    metric = metrics_pb2.Metric
    all_types = [
        metric(name="hand.gauge", unit="1", description="d", gauge=metrics_pb2.Gauge(data_points=numbers),
               metadata=attributes),
        metric(name="hand.sum", sum=metrics_pb2.Sum(data_points=numbers, aggregation_temporality=1,
                                                    is_monotonic=True)),
        metric(name="hand.sum.unspecified", sum=metrics_pb2.Sum(data_points=numbers)),
        metric(name="hand.histogram", histogram=metrics_pb2.Histogram(aggregation_temporality=2, data_points=[
            metrics_pb2.HistogramDataPoint(count=6, sum=0.0, bucket_counts=[1, 2, 3],
                                           explicit_bounds=[-1.0, 1e300], min=-7.0, max=0.0, flags=0,
                                           attributes=attributes, exemplars=exemplars, **times),
            metrics_pb2.HistogramDataPoint(count=3, time_unix_nano=now)])),
        metric(name="hand.exponential", exponential_histogram=metrics_pb2.ExponentialHistogram(
            aggregation_temporality=1, data_points=[
                metrics_pb2.ExponentialHistogramDataPoint(
                    count=10, sum=-1.5, scale=-3, zero_count=1, zero_threshold=1e-9, min=-4.0, max=9.0,
                    positive=buckets(offset=-7, bucket_counts=[1, 0, 2]),
                    negative=buckets(offset=3, bucket_counts=[6]),
                    attributes=attributes, exemplars=exemplars, **times),
                metrics_pb2.ExponentialHistogramDataPoint(count=1, scale=20, zero_count=1,
                                                          time_unix_nano=now)])),
        metric(name="hand.summary", summary=metrics_pb2.Summary(data_points=[
            metrics_pb2.SummaryDataPoint(count=4, sum=2.5, attributes=attributes, quantile_values=[
                metrics_pb2.SummaryDataPoint.ValueAtQuantile(quantile=0.0, value=0.1),
                metrics_pb2.SummaryDataPoint.ValueAtQuantile(quantile=0.99, value=1.5)], **times)])),
    ]
    points = metrics_service_pb2.ExportMetricsServiceRequest(resource_metrics=[
        metrics_pb2.ResourceMetrics(resource=resource, schema_url="https://a", scope_metrics=[
            metrics_pb2.ScopeMetrics(scope=scope, schema_url="https://b", metrics=all_types)])])
    return {"traces": spans, "logs": logs, "metrics": points}


def post_by_hand(requests):
    stubs = {"traces": trace_service_pb2_grpc.TraceServiceStub,
             "logs": logs_service_pb2_grpc.LogsServiceStub,
             "metrics": metrics_service_pb2_grpc.MetricsServiceStub}
    for signal, request in requests.items():
        sent[signal].append(otlp_json(request))
        if PROTOCOL == "grpc":
            with grpc.insecure_channel(ENDPOINT) as channel:
                answer = stubs[signal](channel).Export(request, timeout=10)
                assert not answer.HasField("partial_success"), answer
        else:
            post = urllib.request.Request(f"http://{ENDPOINT}/v1/{signal}", request.SerializeToString(),
                                          {"content-type": "application/x-protobuf"})
            with urllib.request.urlopen(post, timeout=10) as answer:
                assert not answer.read(), "a partial success"


def main():
    resource = Resource.create({"service.name": f"lossless-{PROTOCOL}", "service.version": "1.0",
                                "k8s.pod.name": "pod-1", "replicas": 3, "shares": [0.5, 0.5], "live": True},
                               "https://opentelemetry.io/schemas/1.30.0")
    providers = [send_traces(resource), send_logs(resource), send_metrics(resource)]
    for provider in providers:
        provider.shutdown()
    post_by_hand(by_hand())
    with open(CAPTURE, "w") as file:
        json.dump(sent, file)


main()
