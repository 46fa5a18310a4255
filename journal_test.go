package autotune_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"reflect"
	"sync"
	"testing"

	"github.com/pgautotune/autotune"
	"github.com/pgautotune/autotune/internal/controller"
	"github.com/pgautotune/autotune/internal/pgtest"
)

func TestAJournalOfALivePoolReplaysToTheSameDecisions(t *testing.T) {
	var journal bytes.Buffer
	p := open(t, pgtest.DSN(t), 4, live, func(c *autotune.Config) { c.Journal = &journal })
	ctx, stop := context.WithCancel(within(t))
	var work sync.WaitGroup
	for range 16 {
		work.Go(func() {
			for ctx.Err() == nil {
				_, _ = p.Exec(ctx, "select pg_sleep(0.002)")
			}
		})
	}
	eventually(t, func() string { // until it has moved the limit, so that there is something to replay
		if p.Decision().Action == controller.Grow || p.Snapshot().Limit > 4 || p.Snapshot().Swaps > 0 {
			return ""
		}
		return "the limit has not moved yet"
	})
	stop()
	work.Wait()
	closes(t, p)

	lines := bufio.NewScanner(&journal)
	lines.Buffer(nil, 1<<20)
	if !lines.Scan() {
		t.Fatal("the journal is empty")
	}
	var header struct {
		Version int               `json:"autotune_journal"`
		Config  controller.Config `json:"config"`
	}
	if err := json.Unmarshal(lines.Bytes(), &header); err != nil || header.Version != 1 {
		t.Fatalf("the header %s: %v", lines.Bytes(), err)
	}
	var state controller.State
	replayed := 0
	for lines.Scan() {
		var entry struct {
			Observation controller.Observation `json:"observation"`
			Decision    controller.Decision    `json:"decision"`
		}
		if err := json.Unmarshal(lines.Bytes(), &entry); err != nil {
			t.Fatal(err)
		}
		var d controller.Decision
		state, d = controller.Step(header.Config, state, entry.Observation)
		if !reflect.DeepEqual(d, entry.Decision) {
			t.Fatalf("decision %d differs in the replay:\n%+v\n%+v", replayed, entry.Decision, d)
		}
		replayed++
	}
	if replayed < 5 {
		t.Errorf("only %d decisions were replayed", replayed)
	}
}
