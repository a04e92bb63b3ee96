UPDATE channel_status SET switching = 'running', switch_error = '' WHERE tenant_id = $1 AND channel_id = $2
