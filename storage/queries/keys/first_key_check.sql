INSERT INTO key_check (sealed) VALUES ($1) ON CONFLICT (one) DO NOTHING
