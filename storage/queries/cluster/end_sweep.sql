SELECT pg_advisory_unlock(728451, 2)
