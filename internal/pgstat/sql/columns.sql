-- Every stored column of a pgvector type: where, which type, how many
-- dimensions, and how big its table is.
--
-- By hand (psql 16 or newer):
--   \bind true
--   \i columns.sql
--
-- $1 true: measured sizes, which wait behind ACCESS EXCLUSIVE locks;
--    false: sizes as of the last VACUUM or ANALYZE, without any lock
--
-- * Leaf partitions count, their partitioned parents hold nothing. Other
--   sessions' temporary tables are left out.
-- * rows is the planner's estimate; -1 means never analyzed.
-- * table_bytes includes TOAST, where vectors above 2 kB live, and no indexes.
-- * dimensions is null for a column declared without.
select
  n.nspname::pg_catalog.text as schema,
  c.relname::pg_catalog.text as "table",
  a.attname::pg_catalog.text as "column",
  t.typname::pg_catalog.text as type,
  nullif(a.atttypmod, -1) as dimensions,
  c.oid as table_oid,
  c.reltuples::pg_catalog.float8 as rows,
  case
    when $1::pg_catalog.bool then coalesce(pg_catalog.pg_table_size(c.oid), 0)
    else (c.relpages::pg_catalog.int8 + coalesce(toast.relpages, 0))
      * pg_catalog.current_setting('block_size')::pg_catalog.int8
  end as table_bytes
from pg_catalog.pg_extension e
join pg_catalog.pg_type t on t.typnamespace = e.extnamespace and t.typname in ('vector', 'halfvec', 'sparsevec')
join pg_catalog.pg_attribute a on a.atttypid = t.oid and a.attnum > 0 and not a.attisdropped
join pg_catalog.pg_class c on c.oid = a.attrelid and c.relkind in ('r', 'm') and c.relpersistence <> 't'
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
left join pg_catalog.pg_class toast on toast.oid = c.reltoastrelid
where e.extname = 'vector'
order by 1, 2, a.attnum;
