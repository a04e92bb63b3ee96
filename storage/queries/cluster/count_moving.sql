SELECT count(*) FROM channel_leases WHERE wanted IS NOT NULL AND owner IS NOT NULL
