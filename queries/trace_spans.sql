-- name: trace_spans
-- purpose: One trace as a list of spans in the order of their start: who called whom, and where the time went.
-- param: trace_id string  The trace, as 32 hex digits.
-- param: limit integer default 1000  How many spans.
-- used by: on-call, over HTTP
SELECT start_time,
       duration_ns / 1e6 AS duration_ms,
       region,
       service_name AS service,
       kind,
       name AS operation,
       status_code,
       status_message,
       span_id,
       parent_span_id
FROM spans
WHERE trace_id = $trace_id
ORDER BY start_time, start_time_ns, span_id
LIMIT $limit
