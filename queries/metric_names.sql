-- name: metric_names
-- purpose: Every metric that was received, with its type, unit and number of series: what can be asked about.
-- param: from timestamp default -1h  Start of the window.
-- param: to timestamp default now  End of the window.
-- used by: on-call, over HTTP
SELECT metric_name,
       metric_type,
       unit,
       count(DISTINCT series_id) AS series,
       count(DISTINCT region) AS regions,
       max(time) AS last_point
FROM metrics
WHERE time >= $from
  AND time < $to
GROUP BY metric_name, metric_type, unit
ORDER BY metric_name, metric_type, unit
