DELETE FROM incarnations i WHERE i.ended IS NOT NULL AND i.renewed_at < now() - interval '1 day'
  AND NOT EXISTS (SELECT 1 FROM channel_leases l WHERE l.owner = i.incarnation_id)
