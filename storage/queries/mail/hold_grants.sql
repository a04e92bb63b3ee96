-- Whoever copies a channel's refresh token into a further generation and whoever replaces it in all of them hold this row: rows of generations that
-- are only being made cannot be locked.
SELECT 1 FROM channels WHERE tenant_id = $1 AND channel_id = $2 FOR NO KEY UPDATE
