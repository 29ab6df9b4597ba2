-- name: errors_by_service_and_region
-- purpose: Requests and errors of each service in each region: what fails, and only where.
-- param: from timestamp default -1h  Start of the window.
-- param: to timestamp default now  End of the window.
-- used by: on-call, over HTTP
-- An error is a SERVER span whose status is ERROR, or HTTP 5xx where no status was set.
WITH requests AS (
  SELECT service_name,
         region,
         CASE WHEN status_code = 'ERROR'
                OR (status_code = 'UNSET' AND http_response_status_code >= 500)
              THEN 1 ELSE 0 END AS failed
  FROM spans
  WHERE kind = 'SERVER'
    AND start_time >= $from
    AND start_time < $to
)
SELECT service_name AS service,
       region,
       count(*) AS requests,
       sum(failed) AS errors,
       sum(failed) / CAST(count(*) AS DOUBLE) AS error_ratio
FROM requests
GROUP BY service_name, region
ORDER BY errors DESC, requests DESC, service, region
