UPDATE incarnations SET draining = true WHERE incarnation_id = $1 AND ended IS NULL
