-- The server, the database and the role of the tuned pool: version, address,
-- privileges, and the connection limits that are not settings.
--
-- By hand (psql 16 or newer), '' meaning "as I am connected":
--   \bind '' ''
--   \i server.sql
--
-- $1 database, $2 role of the tuned pool
--
-- address is null on a Unix socket. A limit of -1 means unlimited. Superusers
-- are not bound by the limit of a role. role is who reads, so that a GRANT can
-- be addressed to it.
with target as (
  select
    coalesce(nullif($1::pg_catalog.text, ''), pg_catalog.current_database()::pg_catalog.text) as datname,
    coalesce(nullif($2::pg_catalog.text, ''), session_user::pg_catalog.text) as usename
)
select
  pg_catalog.current_setting('server_version_num')::pg_catalog.int4 as version_num,
  pg_catalog.current_setting('server_version') as version,
  pg_catalog.pg_backend_pid() as backend_pid,
  pg_catalog.host(pg_catalog.inet_server_addr()) as address,
  pg_catalog.pg_is_in_recovery() as in_recovery,
  session_user::pg_catalog.text as role,
  (select rolsuper from pg_catalog.pg_roles where rolname = session_user) as superuser,
  pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE') as read_all_stats,
  coalesce((select r.rolconnlimit from pg_catalog.pg_roles r where r.rolname = t.usename), -1) as role_connection_limit,
  coalesce((select d.datconnlimit from pg_catalog.pg_database d where d.datname = t.datname), -1) as database_connection_limit
from target t;
