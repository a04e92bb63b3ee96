-- Leases changed: every node looks. No channel is named, as after a listener's reconnection.
SELECT pg_notify('mailherd_channel', '0 0')
