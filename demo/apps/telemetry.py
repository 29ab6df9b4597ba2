"""Sets up the OpenTelemetry SDK as an application would: traces, logs and metrics over gRPC."""

import logging
import os

from opentelemetry import metrics, trace
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

EXPORT_MILLIS = 1000


def start(service, region, endpoint):
    """Returns what ends it: the last telemetry is sent, if somebody takes it."""
    resource = Resource.create({
        "service.name": service, "service.namespace": "shop", "service.version": "2.4.1",
        "deployment.environment.name": "demo", "cloud.provider": "aws", "cloud.region": region,
        "k8s.cluster.name": f"shop-{region}", "k8s.pod.name": f"{service}-{os.getpid():x}",
    })
    remote = {"endpoint": endpoint, "insecure": True, "timeout": 5}
    tracers = TracerProvider(resource=resource)
    tracers.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(**remote),
                                                  schedule_delay_millis=EXPORT_MILLIS))
    trace.set_tracer_provider(tracers)
    logs = LoggerProvider(resource=resource)
    logs.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter(**remote),
                                                          schedule_delay_millis=EXPORT_MILLIS))
    logging.getLogger(service).addHandler(LoggingHandler(logger_provider=logs))
    logging.getLogger(service).setLevel(logging.INFO)
    # One histogram with fixed bounds, one exponential.
    view = View(instrument_name="shop.order.duration", aggregation=ExponentialBucketHistogramAggregation())
    reader = PeriodicExportingMetricReader(OTLPMetricExporter(**remote),
                                           export_interval_millis=5 * EXPORT_MILLIS)
    meters = MeterProvider([reader], resource=resource, views=[view])
    metrics.set_meter_provider(meters)

    def stop():
        for provider in (tracers, logs, meters):
            provider.shutdown()

    return stop
