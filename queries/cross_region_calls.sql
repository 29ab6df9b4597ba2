-- name: cross_region_calls
-- purpose: Calls that leave their region, by caller and callee: what a region's failure takes along.
-- param: from timestamp default -1h  Start of the window.
-- param: to timestamp default now  End of the window.
-- used by: on-call, over HTTP
-- The callee's region is where its own span was recorded; where it has none, it is what the
-- caller says (peer.region).
WITH calls AS (
  SELECT trace_id, span_id, region, service_name, peer_region, peer_service, duration_ns, status_code
  FROM spans
  WHERE kind IN ('CLIENT', 'PRODUCER')
    AND start_time >= $from
    AND start_time < $to
),
served AS (
  SELECT trace_id, parent_span_id, region, service_name
  FROM spans
  WHERE kind IN ('SERVER', 'CONSUMER')
    AND parent_span_id IS NOT NULL
    AND start_time >= $from
    AND start_time < $to
),
pairs AS (
  SELECT calls.region AS from_region,
         coalesce(served.region, calls.peer_region) AS to_region,
         calls.service_name AS from_service,
         coalesce(served.service_name, calls.peer_service) AS to_service,
         calls.duration_ns AS duration_ns,
         CASE WHEN calls.status_code = 'ERROR' THEN 1 ELSE 0 END AS failed
  FROM calls
  LEFT JOIN served
    ON served.trace_id = calls.trace_id
   AND served.parent_span_id = calls.span_id
)
SELECT from_region,
       to_region,
       from_service,
       to_service,
       count(*) AS calls,
       sum(failed) AS errors,
       avg(duration_ns) / 1e6 AS mean_ms,
       max(duration_ns) / 1e6 AS max_ms
FROM pairs
WHERE to_region <> from_region
GROUP BY from_region, to_region, from_service, to_service
ORDER BY calls DESC, from_region, to_region, from_service, to_service
