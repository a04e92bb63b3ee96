DELETE FROM console_sessions WHERE session = $1
