-- Of a channel's consents the newest $3 stay, and of its links as many.
DELETE FROM consents WHERE tenant_id = $1 AND channel_id = $2 AND consent_id IN (
  SELECT consent_id FROM (SELECT consent_id, row_number() OVER (PARTITION BY flow = 'link' ORDER BY consent_id DESC) AS place
                          FROM consents WHERE tenant_id = $1 AND channel_id = $2) AS placed
  WHERE place > $3)
