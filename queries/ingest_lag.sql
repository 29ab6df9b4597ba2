-- name: ingest_lag
-- purpose: How far behind each region's agents deliver, and how much waits in their spools.
-- used by: on-call, over HTTP
-- An agent that never delivered has no watermark and counts in agents_without_watermark.
SELECT region,
       count(*) AS agents,
       sum(CASE WHEN watermark IS NULL THEN 1 ELSE 0 END) AS agents_without_watermark,
       min(watermark) AS least_watermark,
       date_part('epoch', now()) - date_part('epoch', min(watermark)) AS lag_s,
       sum(pending_items) AS pending_items,
       sum(pending_bytes) AS pending_bytes,
       min(oldest_pending) AS oldest_pending
FROM agents
WHERE state <> 'stopped'
GROUP BY region
ORDER BY lag_s DESC NULLS FIRST, region
