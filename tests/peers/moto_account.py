"""An account of moto's: made ready for an agent, and read back with AWS's own client.

    moto_account.py prepare http://HOST:PORT POLICY.json...   ->   {"AccessKeyId": ..., "SecretAccessKey": ...}
    moto_account.py read http://HOST:PORT                     ->   {"logs": ..., "traces": ..., "metrics": ...}

From `prepare` to `read` moto checks each call's signature and whether a policy allows its action.
"""

import datetime
import json
import pathlib
import sys
import urllib.request

import boto3

REGION = "eu-central-1"
WHAT, ENDPOINT, *POLICIES = sys.argv[1:]
# moto knows some actions by other names than IAM does: by the service of the signature, and by the path.
OTHER_NAMES = {"cloudwatch:PutMetricData": "monitoring:PutMetricData",
               "xray:PutTraceSegments": "xray:TraceSegments"}


def client(service):
    return boto3.client(service, region_name=REGION, endpoint_url=ENDPOINT,
                        aws_access_key_id="nobody", aws_secret_access_key="nothing")


def check_calls_after(count):
    """So many calls are not checked yet."""
    request = urllib.request.Request(f"{ENDPOINT}/moto-api/reset-auth", count.encode(),
                                     {"Content-Type": "text/plain"})
    urllib.request.urlopen(request, timeout=30).close()


def as_moto_knows_it(policy):
    for statement in policy["Statement"]:
        statement["Action"] = [OTHER_NAMES.get(action, action) for action in statement["Action"]]
        # Resources and conditions are not evaluated, and placeholders are no resources.
        statement["Resource"] = "*"
        statement.pop("Condition", None)
    return policy


def prepare():
    iam = client("iam")
    iam.create_user(UserName="agent")
    for path in map(pathlib.Path, POLICIES):
        policy = as_moto_knows_it(json.loads(path.read_text()))
        iam.put_user_policy(UserName="agent", PolicyName=path.stem, PolicyDocument=json.dumps(policy))
    key = iam.create_access_key(UserName="agent")["AccessKey"]
    check_calls_after("0")
    return {name: key[name] for name in ("AccessKeyId", "SecretAccessKey")}


def pages(service, operation, key, **arguments):
    for page in client(service).get_paginator(operation).paginate(**arguments):
        yield from page[key]


def read_logs():
    groups = []
    for group in pages("logs", "describe_log_groups", "logGroups"):
        name = group["logGroupName"]
        events = pages("logs", "filter_log_events", "events", logGroupName=name)
        groups.append({"name": name, "retention": group.get("retentionInDays"),
                       "events": [{key: event[key] for key in ("logStreamName", "timestamp", "message")}
                                  for event in events]})
    return groups


def read_traces():
    now = datetime.datetime.now(datetime.timezone.utc)
    hour = datetime.timedelta(hours=1)
    summaries = pages("xray", "get_trace_summaries", "TraceSummaries", StartTime=now - hour, EndTime=now + hour)
    ids = sorted({summary["Id"] for summary in summaries})
    traces = pages("xray", "batch_get_traces", "Traces", TraceIds=ids) if ids else []
    return {trace["Id"]: [json.loads(segment["Document"]) for segment in trace["Segments"]] for trace in traces}


def read_metrics():
    now = datetime.datetime.now(datetime.timezone.utc)
    hour = datetime.timedelta(hours=1)
    metrics = []
    for metric in pages("cloudwatch", "list_metrics", "Metrics"):
        statistics = client("cloudwatch").get_metric_statistics(
            Namespace=metric["Namespace"], MetricName=metric["MetricName"], Dimensions=metric["Dimensions"],
            StartTime=now - hour, EndTime=now + hour, Period=7200,
            Statistics=["Sum", "SampleCount", "Minimum", "Maximum"])
        points = [{key: point[key] for key in ("Sum", "SampleCount", "Minimum", "Maximum")}
                  for point in statistics["Datapoints"]]
        metrics.append({"namespace": metric["Namespace"], "name": metric["MetricName"], "points": points,
                        "dimensions": {one["Name"]: one["Value"] for one in metric["Dimensions"]}})
    return metrics


def read():
    check_calls_after("inf")
    return {"logs": read_logs(), "traces": read_traces(), "metrics": read_metrics()}


print(json.dumps({"prepare": prepare, "read": read}[WHAT]()))
