-- name: slowest_traces
-- purpose: The traces whose root span took longest: where to start when everything feels slow.
-- param: from timestamp default -1h  Start of the window.
-- param: to timestamp default now  End of the window.
-- param: service string default null  Only traces that begin in this service.
-- param: limit integer default 20  How many traces.
-- used by: on-call, over HTTP
SELECT trace_id,
       service_name AS service,
       name AS operation,
       region,
       start_time,
       duration_ns / 1e6 AS duration_ms,
       status_code
FROM spans
WHERE parent_span_id IS NULL
  AND start_time >= $from
  AND start_time < $to
  AND ($service IS NULL OR service_name = $service)
ORDER BY duration_ns DESC, trace_id
LIMIT $limit
