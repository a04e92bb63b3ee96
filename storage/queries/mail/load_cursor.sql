-- A maildrop's cursor that does not say what its messages are told apart by is asked of the ledger, once: if all its identities are of one kind, that was it.
SELECT c.uid_validity, c.last_uid, c.after_uid, c.reconcile_upto, c.highest_modseq, mailherd_us(c.baseline), c.initialised,
       CASE WHEN c.names <> '' OR c.protocol <> 'pop3' THEN c.names ELSE coalesce((
         SELECT CASE WHEN bool_and(l.uidl LIKE 'sha256:%') THEN 'digest' WHEN NOT bool_or(l.uidl LIKE 'sha256:%') THEN 'uidl' END
         FROM ledger l WHERE l.tenant_id = $1 AND l.channel_id = $2 AND l.server = $5 AND l.folder = '' AND l.uid_validity = 0 AND l.uid = 0), '') END
FROM cursors c WHERE c.tenant_id = $1 AND c.channel_id = $2 AND c.protocol = $3 AND c.folder = $4 AND c.server = $5
