-- Keeps the text from which jobs are made; nothing if it is known. Index: definitions_pkey, for the
-- conflict.
INSERT INTO definitions (definition_id, name, version, source)
VALUES ($1, $2, $3, $4)
ON CONFLICT (definition_id) DO NOTHING
