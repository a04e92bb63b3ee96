-- By what the browser brought, whoever's it is.
SELECT tenant_id, consent_id, channel_id, generation, app_id, flow, CASE WHEN state = 'pending' AND expires_at <= now() THEN 'expired' ELSE state END AS state,
       taken_at IS NOT NULL AS taken, uses, browser, redirect_uri, sealed_secret, nonce, login_hint, any_account, other_account, pick_account, return_to, link_id,
       user_code, verification_uri, poll_seconds, account, detail, actor, mailherd_us(created_at) AS created_at, mailherd_us(expires_at) AS expires_at
FROM consents WHERE digest = $1
