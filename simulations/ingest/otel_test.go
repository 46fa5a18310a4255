package ingest

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/pgautotune/autotune/simulations/trace"
)

// aSpan is a span of PostgreSQL of 1 ms that begins at a second.
func aSpan(second int, name, id, parent string) string {
	return fmt.Sprintf(`{"traceId":"a1","spanId":%q,"parentSpanId":%q,"name":%q,"startTimeUnixNano":"%d000000000","endTimeUnixNano":"%[4]d001000000","attributes":[{"key":"db.system","value":{"stringValue":"postgresql"}}]}`, id, parent, name, second)
}

func spans(all ...string) string {
	return `{"resourceSpans":[{"scopeSpans":[{"spans":[` + strings.Join(all, ",") + "]}]}]}\n"
}

func TestSpansWithinAnotherOneOfTheDatabaseAreNoRequests(t *testing.T) {
	const http = `{"traceId":"a1","spanId":"09","name":"GET /","startTimeUnixNano":"1","endTimeUnixNano":"2"}`
	whole, one, two := aSpan(10, "batch start", "01", "09"), aSpan(11, "SELECT", "02", "01"), aSpan(12, "UPDATE", "03", "01")
	for _, c := range []struct {
		name, content, rows string
		left                int
	}{
		{"the batch first", spans(whole, one, two), "0,1,batch,ok,\n", 2},
		{"as exported, the batch last", spans(one, two, whole, http), "0,1,batch,ok,\n", 2},
		{"over documents", spans(one) + spans(http, two) + spans(whole), "0,1,batch,ok,\n", 2},
		{"a batch of which only statements are there", spans(aSpan(10, "query SELECT", "07", ""), aSpan(11, "batch query SELECT", "02", "01")), "0,1,query,ok,\n", 1},
		{"parts of parts", spans(aSpan(12, "x", "04", "02"), one, whole), "0,1,batch,ok,\n", 2},
		{"two calls of one request", spans(http, aSpan(10, "SELECT", "02", "09"), aSpan(11, "UPDATE", "03", "09")), "0,1,SELECT,ok,\n1,1,UPDATE,ok,\n", 0},
		{"the same name in another trace", spans(whole, strings.Replace(one, "a1", "b2", 1)), "0,1,batch,ok,\n1,1,SELECT,ok,\n", 0},
		{"without names", spans(aSpan(10, "SELECT", "", ""), aSpan(11, "UPDATE", "", "")), "0,1,SELECT,ok,\n1,1,UPDATE,ok,\n", 0},
		{"within a wait", spans(aSpan(9, "pool.acquire", "05", ""), aSpan(10, "SELECT", "02", "05")), "0,1,SELECT,ok,\n", 0},
	} {
		text, res, err := imported(Options{}, c.content)
		note := fmt.Sprintf("%d spans that are part of another", c.left)
		if said := strings.Contains(strings.Join(res.Notes, "\n"), note); err != nil || rowsOf(text) != c.rows || said != (c.left > 0) {
			t.Errorf("%s: %v, %q\n%s", c.name, err, res.Notes, text)
		}
	}
}

// Whatever the order, a part is found whose whole is no farther than the window, and
// no span is lost or held for ever.
func TestANestHoldsNoMoreThanItsWindow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n, out := nest{window: rapid.IntRange(1, 8).Draw(t, "window")}, &sink{}
		parents := rapid.SliceOfN(rapid.IntRange(-1, 30), 1, 30).Draw(t, "parents")
		left := int64(0)
		for i, parent := range parents {
			if parent >= 0 && parent < len(parents) && parent-i <= n.window && i-parent <= n.window-1 {
				left++
			}
			e := trace.UnknownEvent()
			if err := n.add(named("t", fmt.Sprint(i+1)), named("t", fmt.Sprint(parent+1)), int64(i), &e, out); err != nil {
				t.Fatal(err)
			}
			if len(n.held)-n.first > n.window || len(n.names) > 2*n.window || cap(n.held) > 8*n.window+8 {
				t.Fatalf("%d of %d held, %d names", len(n.held)-n.first, n.window, len(n.names))
			}
		}
		if err := n.flush(out); err != nil || n.left < left || n.left+out.events.count != int64(len(parents)) {
			t.Fatalf("%v: %d of %d left out, %d given on, of %d", err, n.left, left, out.events.count, len(parents))
		}
	})
}
