-- Kept for a day, so that a browser that comes back late can be told what became of it.
DELETE FROM consents WHERE expires_at < now() - interval '1 day'
