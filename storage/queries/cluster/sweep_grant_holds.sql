DELETE FROM grant_holds WHERE until < now() - interval '1 hour'
