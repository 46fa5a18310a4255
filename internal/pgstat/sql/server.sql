-- The server, the database and the role of the tuned pool: version, address,
-- privileges, and the connection limits that are not settings.
--
-- By hand (psql 16 or newer), '' meaning "as I am connected":
--   \bind '' ''
--   \i server.sql
--
-- $1 database, $2 role of the tuned pool
--
-- address is null on a Unix socket. A limit of -1 means unlimited; none binds a
-- superuser. role is who reads, so that a GRANT can be addressed to it.
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
  pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE') as read_all_stats,
  case when r.rolsuper then -1 else coalesce(r.rolconnlimit, -1) end as role_connection_limit,
  case when r.rolsuper then -1 else coalesce(d.datconnlimit, -1) end as database_connection_limit
from target t
left join pg_catalog.pg_roles r on r.rolname = t.usename
left join pg_catalog.pg_database d on d.datname = t.datname;
