SELECT nextval('oauth_app_ids')
