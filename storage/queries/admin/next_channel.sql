SELECT nextval('channel_ids')
