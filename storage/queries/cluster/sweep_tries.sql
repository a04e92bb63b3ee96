DELETE FROM message_tries WHERE at < now() - interval '30 days'
