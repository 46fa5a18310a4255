-- What every client of the server does at this instant, by database, role and
-- application. Read ten times a second, for as long as somebody watches.
--
-- By hand (psql 16 or newer), 10000 being the turnaround and 100000 the time since
-- the last look, in microseconds:
--   \bind 10000 100000
--   \i census.sql
--
-- $1 an idle backend whose last statement ended at most so long ago counts as
--    turning: between two statements of a caller that goes on
-- $2 the time since the look before: what ended meanwhile may have been seen by none
--
-- * kind: client; worker (a parallel worker, which computes for its leader's
--   application); server (whatever else has a database: autovacuum, walsenders,
--   background workers, which name their type themselves); hidden (a row of
--   another role, of which only database, role and application show).
-- * wait is null while a backend computes (on CPU, or ready to run).
-- * here: the client sits on the server's machine, as far as addresses tell.
-- * between_looks is how many of the idle backends had a statement running at once between
--   the two looks: the mean from the first start to the last end of those that ended.
-- * transactions are those of the database since its statistics were reset; a
--   backend reports its own about once a second.
-- * The own backend is left out. The last row, of kind "cost", has the
--   microseconds that this query took inside the server as its oldest_us.
with backend as (
  select
    a.datid, a.datname, a.usename, a.application_name,
    case
      when a.backend_type = 'client backend' then 'client'
      when a.backend_type = 'parallel worker' then 'worker'
      when a.backend_type is null then 'hidden'
      else 'server'
    end as kind,
    case
      when a.backend_type is null then 'hidden'
      when a.backend_type not in ('client backend', 'parallel worker') then
        case when a.wait_event_type is null then 'active' else 'server_wait' end
      when a.state = 'idle' then
        case when pg_catalog.clock_timestamp() - a.state_change <= $1::pg_catalog.int8 * '1 microsecond'::pg_catalog.interval
          then 'turning' else 'idle' end
      when a.state in ('idle in transaction', 'idle in transaction (aborted)') then 'idle_in_transaction'
      when a.state in ('active', 'fastpath function call') then 'active'
      else 'unknown'
    end as state,
    case when a.state in ('active', 'fastpath function call') then a.wait_event_type || ':' || a.wait_event end as wait,
    coalesce(a.client_addr is null or a.client_addr = pg_catalog.inet_server_addr()
      or a.client_addr << '127.0.0.0/8'::pg_catalog.inet or a.client_addr = '::1'::pg_catalog.inet, false) as here,
    a.state_change,
    case when a.state = 'idle' and pg_catalog.clock_timestamp() - a.state_change <= $2::pg_catalog.int8 * '1 microsecond'::pg_catalog.interval
      then a.query_start end as served_from
  from pg_catalog.pg_stat_activity a
  where a.pid <> pg_catalog.pg_backend_pid() and a.datid is not null
    and (a.backend_type is not null or a.usename is not null)
), grouped as (
  select
    datid, datname, usename, application_name, kind, state, wait, here,
    pg_catalog.count(*) as backends,
    (extract(epoch from pg_catalog.max(pg_catalog.clock_timestamp() - state_change)) * 1000000)::pg_catalog.int8 as oldest_us,
    (extract(epoch from pg_catalog.sum(pg_catalog.clock_timestamp() - state_change)) * 1000000)::pg_catalog.int8 as ages_us,
    coalesce(extract(epoch from pg_catalog.sum(state_change - served_from))
      / nullif(extract(epoch from pg_catalog.max(state_change) filter (where served_from is not null) - pg_catalog.min(served_from)), 0), 0)::pg_catalog.float8 as between_looks
  from backend
  group by datid, datname, usename, application_name, kind, state, wait, here
), counted as (
  select
    g.datname::pg_catalog.text, g.usename::pg_catalog.text, g.application_name, g.kind, g.state, g.wait, g.here,
    g.backends, g.oldest_us, g.ages_us, g.between_looks,
    pg_catalog.pg_stat_get_db_xact_commit(g.datid) + pg_catalog.pg_stat_get_db_xact_rollback(g.datid) as transactions
  from grouped g
)
select * from counted
union all
select pg_catalog.current_database()::pg_catalog.text, null, null, 'cost', '', null, false, 0,
  (extract(epoch from pg_catalog.clock_timestamp() - pg_catalog.statement_timestamp()) * 1000000)::pg_catalog.int8, 0, 0,
  (select pg_catalog.pg_stat_get_db_xact_commit(d.oid) + pg_catalog.pg_stat_get_db_xact_rollback(d.oid)
    from pg_catalog.pg_database d where d.datname = pg_catalog.current_database());
