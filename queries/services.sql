-- name: services
-- purpose: Every service and region that sent spans, with the last time: what runs where, and what stopped.
-- param: from timestamp default -1h  Start of the window.
-- param: to timestamp default now  End of the window.
-- used by: on-call, over HTTP
SELECT service_name AS service,
       region,
       count(*) AS spans,
       count(DISTINCT service_version) AS versions,
       max(start_time) AS last_span
FROM spans
WHERE start_time >= $from
  AND start_time < $to
GROUP BY service_name, region
ORDER BY service, region
