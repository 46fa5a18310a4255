-- The CONNECTION LIMITs of all roles and databases that have one: whose
-- connections will be counted is known only once they have been seen.
--
-- By hand:
--   \i limits.sql
--
-- A limit binds no superuser.
select true as of_database, d.datname::pg_catalog.text as name, d.datconnlimit as max
from pg_catalog.pg_database d
where d.datconnlimit >= 0
union all
select false, r.rolname::pg_catalog.text, r.rolconnlimit
from pg_catalog.pg_roles r
where r.rolconnlimit >= 0 and r.rolcanlogin and not r.rolsuper
limit 1000;
