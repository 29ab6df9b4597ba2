-- name: logs_of_trace
-- purpose: The log lines of one trace, in order, whatever region they were written in.
-- param: trace_id string  The trace, as 32 hex digits.
-- param: limit integer default 1000  How many lines.
-- used by: on-call, over HTTP
SELECT time, region, service_name AS service, severity_text, severity_number, body, span_id
FROM logs
WHERE trace_id = $trace_id
ORDER BY time, time_ns
LIMIT $limit
