SELECT nextval('webhook_ids')
