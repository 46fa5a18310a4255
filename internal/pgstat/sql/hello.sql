-- First look at a new connection: who answered, and how does the server write
-- the application name of the tuned pool?
--
-- By hand (psql 16 or newer):
--   \bind 'my service'
--   \i hello.sql
--
-- $1 application name of the tuned pool, '' for none
--
-- backend_pid differs from the pid of the connection handshake when a pooler
-- stands in between. The application name is set for this one statement and
-- read back, because the server cleans it (characters outside of ASCII) and
-- pg_stat_activity shows its first 63 bytes: compared with the raw name, such
-- a pool would never find its own backends.
select
  pg_catalog.pg_backend_pid() as backend_pid,
  pg_catalog."left"(pg_catalog.set_config('application_name', $1::pg_catalog.text, true), 63) as application_name;
