-- The channels of this life.
SELECT tenant_id, channel_id, epoch FROM channel_leases WHERE owner = $1
