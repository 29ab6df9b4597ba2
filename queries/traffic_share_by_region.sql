-- name: traffic_share_by_region
-- purpose: Each region's share of the requests over time: whether traffic has shifted, and when.
-- param: from timestamp default -1h  Start of the window.
-- param: to timestamp default now  End of the window.
-- param: step duration default 5m  The length of one interval.
-- used by: on-call, over HTTP
WITH counted AS (
  SELECT date_bin($step, start_time) AS start, region, count(*) AS requests
  FROM spans
  WHERE kind = 'SERVER'
    AND start_time >= $from
    AND start_time < $to
  GROUP BY date_bin($step, start_time), region
)
SELECT start,
       region,
       requests,
       requests / CAST(sum(requests) OVER (PARTITION BY start) AS DOUBLE) AS share
FROM counted
ORDER BY start, region
