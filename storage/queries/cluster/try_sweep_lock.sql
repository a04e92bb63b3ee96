-- Of the session, for as long as the whole sweep takes; given back by end_sweep, or with the connection.
SELECT pg_try_advisory_lock(728451, 2)
