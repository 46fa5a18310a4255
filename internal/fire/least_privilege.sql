-- The least that autotune needs: a role of its own that may log in, use one
-- database and, optionally, see what the backends of other roles do.
--
--   psql -v role=service -v database=app -v password="$PASSWORD" -f least_privilege.sql
--
-- What the service itself needs on its tables comes on top. Nothing here lets the
-- role change a setting of the server, end a backend or read somebody's data.
create role :"role" login password :'password' nosuperuser nocreatedb nocreaterole noreplication nobypassrls;
revoke all on database :"database" from public;
grant connect on database :"database" to :"role";

-- Optional: without it the counts of other roles' backends are lower bounds,
-- which the log says once ("not seen"). It shows the text of their queries too,
-- which autotune does not read; where that is too much, leave it out.
grant pg_read_all_stats to :"role";
