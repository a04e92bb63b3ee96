SELECT uid_validity, last_uid, after_uid, reconcile_upto, highest_modseq, mailherd_us(baseline), initialised
FROM cursors WHERE tenant_id = $1 AND channel_id = $2 AND protocol = $3 AND folder = $4 AND server = $5
