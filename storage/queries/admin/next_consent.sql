SELECT nextval('consent_ids')
