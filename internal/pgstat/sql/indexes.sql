-- Every vector index that holds data: pgvector's hnsw and ivfflat, and those of
-- extensions that index its types: diskann (pgvectorscale, Azure), scann and ivf
-- (AlloyDB), vchordrq and vchordg (VectorChord). Their bytes against
-- shared_buffers and RAM decide whether more connections meet a cliff.
--
-- By hand (psql 16 or newer):
--   \bind true
--   \i indexes.sql
--
-- $1 true: measured sizes, which wait behind ACCESS EXCLUSIVE locks;
--    false: sizes as of the last VACUUM or ANALYZE, without any lock
--
-- The index of a partitioned table has no storage; its leaves are listed.
-- building needs pg_read_all_stats where another role builds; false without.
-- options are those given at CREATE INDEX, as name=value.
select
  n.nspname::pg_catalog.text as schema,
  ic.relname::pg_catalog.text as "index",
  tc.relname::pg_catalog.text as "table",
  am.amname::pg_catalog.text as method,
  case
    when $1::pg_catalog.bool then coalesce(pg_catalog.pg_relation_size(ic.oid), 0)
    else ic.relpages::pg_catalog.int8 * pg_catalog.current_setting('block_size')::pg_catalog.int8
  end as bytes,
  i.indisvalid and i.indisready as valid,
  exists (select from pg_catalog.pg_stat_progress_create_index p
    where p.index_relid = i.indexrelid and p.datname = pg_catalog.current_database()) as building,
  coalesce(ic.reloptions, '{}'::pg_catalog.text[]) as options
from pg_catalog.pg_am am
join pg_catalog.pg_class ic on ic.relam = am.oid and ic.relkind = 'i' and ic.relpersistence <> 't'
join pg_catalog.pg_namespace n on n.oid = ic.relnamespace
join pg_catalog.pg_index i on i.indexrelid = ic.oid
join pg_catalog.pg_class tc on tc.oid = i.indrelid
where am.amname in ('hnsw', 'ivfflat', 'diskann', 'scann', 'ivf', 'vchordrq', 'vchordg')
order by 1, 2;
