-- The seat belts of every statement of the reader: read only, bounded in time
-- on the server's side too, and blind to whatever search_path the role has.
--
-- By hand (psql 16 or newer):
--   \bind 1000 true
--   \i guard.sql
--
-- $1 statement_timeout in milliseconds
-- $2 true: until the end of the transaction (behind a pooler, where a session
--    setting would leak into somebody else's session); false: for the session
--
-- lock_timeout is short because pg_table_size waits behind ACCESS EXCLUSIVE,
-- which VACUUM FULL or REINDEX can hold for an hour.
select
  pg_catalog.set_config('search_path', 'pg_catalog', $2::pg_catalog.bool),
  pg_catalog.set_config('statement_timeout', $1::pg_catalog.text, $2::pg_catalog.bool),
  pg_catalog.set_config('lock_timeout', '100', $2::pg_catalog.bool),
  pg_catalog.set_config('default_transaction_read_only', 'on', $2::pg_catalog.bool);
