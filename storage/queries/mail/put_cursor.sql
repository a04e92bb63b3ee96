INSERT INTO cursors (tenant_id, channel_id, server, protocol, folder, uid_validity, last_uid, after_uid, reconcile_upto, highest_modseq, baseline, initialised, names)
VALUES ($1, $2, $12, $3, $4, $5, $6, $7, $8, $9, mailherd_time($10), $11, $13)
ON CONFLICT (tenant_id, channel_id, server, protocol, folder) DO UPDATE
SET uid_validity = excluded.uid_validity, last_uid = excluded.last_uid, after_uid = excluded.after_uid, reconcile_upto = excluded.reconcile_upto,
    highest_modseq = excluded.highest_modseq, baseline = excluded.baseline, initialised = excluded.initialised, names = excluded.names
