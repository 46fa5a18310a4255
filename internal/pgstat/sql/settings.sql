-- Settings that bound or price connections. reset_val, not setting: what a
-- session of this role in this database starts with, rather than what the
-- reader set for itself.
--
-- By hand:
--   \i settings.sql
--
-- A setting the server does not know has no row: reserved_connections before
-- PostgreSQL 16, and hnsw.* and ivfflat.* until pgvector's library was loaded
-- by this session (run vector_check.sql first).
select name, reset_val, coalesce(unit, '') as unit
from pg_catalog.pg_settings
where name in (
  'max_connections',
  'superuser_reserved_connections',
  'reserved_connections',
  'shared_buffers',
  'work_mem',
  'maintenance_work_mem',
  'effective_cache_size',
  'statement_timeout',
  'idle_in_transaction_session_timeout',
  'tcp_keepalives_idle',
  'hnsw.ef_search',
  'hnsw.iterative_scan',
  'hnsw.max_scan_tuples',
  'hnsw.scan_mem_multiplier',
  'ivfflat.probes'
);
