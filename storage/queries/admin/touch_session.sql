UPDATE console_sessions SET seen_at = now() WHERE session = $1
