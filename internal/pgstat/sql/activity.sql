-- What the client backends do at this instant: those of the tuned pool ("ours")
-- and those of everybody else, grouped by activity and wait event, next to the
-- transaction counters of the pool's database. Read once a second.
--
-- By hand (psql 16 or newer), '' meaning "as I am connected":
--   \bind '' '' 'my service' false false
--   \i activity.sql
--
-- $1 database, $2 role, $3 application_name of the tuned pool;
-- $4 whether any role, $5 whether any application_name is ours
--
-- * A backend is ours by database, role and application_name together; the
--   backend that runs this query is left out.
-- * A role without pg_read_all_stats sees the rows of other roles with
--   backend_type, state and wait event null: they count as unknown and hidden.
--   The rows without a role are the server's own workers, never clients.
-- * wait is null while a backend computes (on CPU, or ready to run).
-- * Ages are in microseconds and only known for backends that may be seen.
-- * The first row exists even if there is no backend at all (class is null).
with target as (
  select
    coalesce(nullif($1::pg_catalog.text, ''), pg_catalog.current_database()::pg_catalog.text) as datname,
    coalesce(nullif($2::pg_catalog.text, ''), session_user::pg_catalog.text) as usename,
    $3::pg_catalog.text as application_name
), backend as (
  select
    coalesce(a.datname = t.datname
      and ($4::pg_catalog.bool or a.usename = t.usename)
      and ($5::pg_catalog.bool or a.application_name = t.application_name), false) as ours,
    a.backend_type is null as hidden,
    case
      when a.state = 'idle' then 'idle'
      when a.state in ('idle in transaction', 'idle in transaction (aborted)') then 'idle_in_transaction'
      when a.state in ('active', 'fastpath function call') then
        case
          when a.wait_event_type is null then 'on_cpu'
          when a.wait_event_type = 'IO' then 'io'
          when a.wait_event_type = 'Lock' then 'lock'
          when a.wait_event_type in ('LWLock', 'BufferPin', 'Buffer') then 'lwlock'
          else 'other_wait'
        end
      else 'unknown'
    end as class,
    case when a.state in ('active', 'fastpath function call') then a.wait_event_type || ':' || a.wait_event end as wait,
    pg_catalog.clock_timestamp() - a.xact_start as xact_age,
    case when a.state in ('idle in transaction', 'idle in transaction (aborted)')
      then pg_catalog.clock_timestamp() - a.state_change end as idle_xact_age
  from pg_catalog.pg_stat_activity a, target t
  where a.pid <> pg_catalog.pg_backend_pid()
    and (a.backend_type = 'client backend'
      or (a.backend_type is null and a.datname is not null and a.usename is not null))
), grouped as (
  select
    ours, hidden, class, wait,
    pg_catalog.count(*) as backends,
    (extract(epoch from pg_catalog.max(xact_age)) * 1000000)::pg_catalog.int8 as xact_age_us,
    (extract(epoch from pg_catalog.max(idle_xact_age)) * 1000000)::pg_catalog.int8 as idle_xact_age_us
  from backend
  group by ours, hidden, class, wait
)
select
  d.xact_commit + d.xact_rollback as transactions,
  d.stats_reset,
  d.numbackends,
  g.ours, g.hidden, g.class, g.wait, g.backends, g.xact_age_us, g.idle_xact_age_us
from target t
join pg_catalog.pg_stat_database d on d.datname = t.datname
left join grouped g on true;
