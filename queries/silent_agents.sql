-- name: silent_agents
-- purpose: Agents that should be heard and are not, or are behind: which nodes we are blind on.
-- used by: on-call, over HTTP
SELECT region,
       cluster,
       node,
       agent_id,
       state,
       last_seen,
       date_part('epoch', now()) - date_part('epoch', last_seen) AS silent_s,
       watermark,
       pending_items,
       pending_bytes
FROM agents
WHERE state IN ('late', 'silent', 'gone')
ORDER BY last_seen, region, node
