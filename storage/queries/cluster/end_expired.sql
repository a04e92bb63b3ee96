-- Lives whose lease ran out: from here on they cannot renew, so their channels may go to others.
UPDATE incarnations SET ended = 'lost'
WHERE incarnation_id IN (SELECT incarnation_id FROM incarnations WHERE ended IS NULL AND expires_at < now() ORDER BY 1 FOR NO KEY UPDATE SKIP LOCKED)
RETURNING incarnation_id
