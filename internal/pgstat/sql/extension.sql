-- Is pgvector installed in this database, in which version and schema, and may
-- this role use that schema? No row: not installed.
--
-- By hand:
--   \i extension.sql
--
-- It also runs on connections of the pool, whose search_path is not guarded:
-- hence the qualified operators.
select
  e.extversion as version,
  n.nspname::pg_catalog.text as schema,
  pg_catalog.has_schema_privilege(n.oid, 'USAGE') as usable
from pg_catalog.pg_extension e
join pg_catalog.pg_namespace n on n.oid operator(pg_catalog.=) e.extnamespace
where e.extname operator(pg_catalog.=) 'vector';
