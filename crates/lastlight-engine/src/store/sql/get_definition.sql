-- The text from which a job was made. Index: definitions_pkey.
SELECT name, version, source FROM definitions WHERE definition_id = $1
