// Command pgsetup makes sure that the tests can have a PostgreSQL with pgvector,
// and shows the progress of what that takes, which go test would not.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"time"

	"github.com/pgautotune/autotune/internal/pgtest"
)

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt)
	defer cancel()
	start := time.Now()
	s, err := pgtest.Start(ctx, pgtest.Options{Log: os.Stderr})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Printf("PostgreSQL %s with pgvector: started in %v\n", s.Version(), time.Since(start).Round(time.Millisecond))
	if err := s.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
