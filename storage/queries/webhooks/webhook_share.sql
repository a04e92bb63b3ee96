-- What this deliverer has, and what would be its fair share.
SELECT count(*) FILTER (WHERE owner = $1), ceil(count(*)::numeric / greatest(1, (SELECT count(*) FROM deliverers WHERE expires_at > now())))
FROM webhook_cursors WHERE active
