package load

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// VectorRemedy says how the database of a connection comes to the extension vector,
// which it does not have: that depends on the server's packages and on the role.
func VectorRemedy(ctx context.Context, conn *pgx.Conn) string {
	offered, may := true, true // where it cannot be asked, the usual
	_ = conn.QueryRow(ctx, `select count(*) > 0, coalesce(bool_or((select rolsuper from pg_catalog.pg_roles where rolname = current_user)
			or trusted and pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE')), false)
		from pg_catalog.pg_available_extension_versions where name = 'vector'`).Scan(&offered, &may)
	return vectorRemedy(offered, may)
}

func vectorRemedy(offered, may bool) string {
	switch {
	case !offered:
		return "the server has no package of it: install pgvector on its machine, or choose it in the provider's settings, then run CREATE EXTENSION vector in the database"
	case !may:
		return "this role may not create it: let the owner of the database run CREATE EXTENSION vector in it"
	}
	return "run CREATE EXTENSION vector in it"
}
