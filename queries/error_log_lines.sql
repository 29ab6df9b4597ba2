-- name: error_log_lines
-- purpose: The newest log lines of severity ERROR and above: what the software itself complains about.
-- param: from timestamp default -1h  Start of the window.
-- param: to timestamp default now  End of the window.
-- param: service string default null  Only this service.
-- param: limit integer default 100  How many lines.
-- used by: on-call, over HTTP
-- Severity numbers of OTLP: 17 is ERROR, 21 is FATAL.
SELECT time, region, service_name AS service, severity_text, body, trace_id
FROM logs
WHERE severity_number >= 17
  AND time >= $from
  AND time < $to
  AND ($service IS NULL OR service_name = $service)
ORDER BY time DESC, time_ns DESC
LIMIT $limit
