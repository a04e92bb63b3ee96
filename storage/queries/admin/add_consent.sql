INSERT INTO consents (tenant_id, consent_id, channel_id, generation, app_id, flow, digest, browser, redirect_uri, sealed_secret, nonce, login_hint, any_account,
                      other_account, pick_account, return_to, link_id, user_code, verification_uri, poll_seconds, actor, expires_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, mailherd_time($22))
