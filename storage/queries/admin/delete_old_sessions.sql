-- Those that ended; $1: or were unused for so many seconds.
DELETE FROM console_sessions WHERE expires_at <= now() OR seen_at <= now() - $1::bigint * interval '1 second'
