package advice

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pgautotune/autotune/internal/pgstat"
)

// steadily is 30 s of the same, ten looks a second and 100 transactions.
func steadily(groups ...pgstat.Group) (all []Sample) {
	for i := range 300 {
		all = append(all, sampleOf(float64(i)/10, float64(10*i), groups...))
	}
	return all
}

func of(application string, g pgstat.Group) pgstat.Group { g.Application = application; return g }

func finding(a *Advice, kind string) (Finding, bool) {
	i := slices.IndexFunc(a.Findings, func(f Finding) bool { return f.Kind == kind })
	if i < 0 {
		return Finding{}, false
	}
	return a.Findings[i], true
}

// Instances cannot use each other's idle connections, so that each needs more than its
// part of the whole.
func TestEachOfManyInstancesHasEnoughForItself(t *testing.T) {
	r := recorded(steadily(group(pgstat.Active, "", 20), group(pgstat.Idle, "", 180)), 64)
	r.Facts.Settings.MaxConnections = 400
	for instances, want := range map[int]int{1: 0, 4: 10, 100: 2, 400: 1} {
		z := Advise(Question{Instances: instances}, r).Size
		if instances == 1 {
			want = z.Max
		}
		if z.Rule != ByDemand || z.MaxEach != want || z.MaxEach*instances > 400 {
			t.Errorf("%d instances: %d each of %d by %s, want %d", instances, z.MaxEach, z.Max, z.Rule, want)
		}
	}
}

// A dump or a shell beside a service is no pool that callers queue for.
func TestOneBusySessionIsNoPoolThatIsUsedUp(t *testing.T) {
	var all []Sample
	for i := range 300 {
		api := []pgstat.Group{group(pgstat.Idle, "", 20)}
		if i%5 > 0 {
			api = []pgstat.Group{group(pgstat.Idle, "", 19), group(pgstat.Active, "", 1)}
		}
		all = append(all, sampleOf(float64(i)/10, float64(i), append(api, of("pg_dump", group(pgstat.Active, "IO:DataFileRead", 1)))...))
	}
	if z := Advise(Question{}, recorded(all, 16)).Size; z.Rule != ByDemand || z.Clipped || z.Max > 4 {
		t.Errorf("%+v", z)
	}
}

// Processes with one connection each and a name of their own are a service all the same.
func TestOneConnectionEachCanAllBeInUse(t *testing.T) {
	var busy []pgstat.Group
	for _, name := range strings.Split("abcdefghijklmnopqrst", "") {
		busy = append(busy, of(name, group(pgstat.Active, "", 1)))
	}
	if z := Advise(Question{}, recorded(steadily(busy...), 64)).Size; !z.Clipped || z.Rule != ByKnee {
		t.Errorf("%+v", z)
	}
	if z := Advise(Question{Instances: 20}, recorded(steadily(busy...), 0)).Size; z.MaxEach != 1 {
		t.Errorf("cores unknown, all in use: %d each of %d", z.MaxEach, z.Max)
	}
}

// Behind a pooler its connections are counted, and max_connections binds those.
func TestAPoolersConnectionsMeetTheServersWall(t *testing.T) {
	r := recorded(steadily(group(pgstat.Active, "", 1), group(pgstat.IdleInTransaction, "", 19)), 8)
	r.Facts.Server.Pooler = true
	r.Facts.Settings.MaxConnections = 100
	if z := Advise(Question{}, r).Size; z.Max != 100 || z.Upper > 100 {
		t.Errorf("%+v", z)
	}
}

// From elsewhere, an address of the server's own may be a proxy beside it.
func TestLocalAddressesSeenFromElsewhereDoNotSaturateTheServer(t *testing.T) {
	a := Advise(Question{ServerCPUs: 8}, recorded(steadily(here(group(pgstat.Active, "", 5)), here(group(pgstat.Turning, "", 25))), 0))
	if _, found := finding(a, "saturated"); found || a.Size.Saturated {
		t.Errorf("%+v", a.Size)
	}
}

// Only a queue for a row is a queue: who waits for a table or an advisory lock holds a
// place until something happens.
func TestLocksOfTablesAndSchedulersAreNoHotRow(t *testing.T) {
	for _, wait := range []string{"Lock:advisory", "Lock:relation"} {
		a := Advise(Question{}, recorded(steadily(group(pgstat.Active, wait, 40), group(pgstat.Active, "", 3), group(pgstat.Idle, "", 2)), 8))
		f, found := finding(a, "locks")
		if a.Size.Rule == ByLocks || a.Size.Max < 40 || !found || !strings.Contains(f.Remedy, "pg_blocking_pids") {
			t.Errorf("%s: %+v %+v", wait, a.Size, f)
		}
	}
}

// The server counts transactions by database: where others are in it, throughput says
// nothing about one application.
func TestOthersInTheDatabaseKeepAKneeFromBeingMeasured(t *testing.T) {
	var all []Sample
	at, done := 0.0, 0.0
	for _, n := range []int{1, 2, 4, 8, 16, 32} {
		for range 100 {
			all = append(all, sampleOf(at, done, group(pgstat.Active, "", n), of("other", group(pgstat.Active, "", 9))))
			at, done = at+0.1, done+0.1*math.Min(1000, 250*float64(n))+900
		}
	}
	alone := slices.Clone(all)
	for i := range alone {
		alone[i].Groups = alone[i].Groups[:1]
	}
	for name, c := range map[string]struct {
		samples []Sample
		shared  bool
	}{"with others": {all, true}, "alone": {alone, false}} {
		a := Advise(Question{Filter: Filter{Application: "api"}}, recorded(c.samples, 64))
		if a.Seen.Shared != c.shared || a.Supply.Measured.Identified == c.shared {
			t.Errorf("%s: shared %t, measured %s", name, a.Seen.Shared, a.Supply.Measured)
		}
	}
}

func TestAuroraWaitsForACommitAndNotForPages(t *testing.T) {
	a := Advise(Question{}, recorded(steadily(group(pgstat.Active, "IO:XactSync", 8), group(pgstat.Idle, "", 4)), 8))
	if _, found := finding(a, "io"); found || math.Round(a.Seen.Activity.Commit) != 8 {
		t.Errorf("%+v", a.Seen.Activity)
	}
}

// By the names of the wait events of PostgreSQL 13 to 18.
func TestWaitsForSharedMemoryAndForPagesOfOthersAreToldByAnyName(t *testing.T) {
	for kind, waits := range map[string][]string{
		"contention": {"LWLock:BufferContent", "Timeout:SpinDelay", "IPC:ProcArrayGroupUpdate", "IPC:ProcarrayGroupUpdate", "IPC:XactGroupUpdate"},
		"io":         {"IO:DataFileRead", "IPC:BufferIO", "IPC:BufferIo"},
	} {
		for _, wait := range waits {
			f, found := finding(Advise(Question{}, recorded(steadily(group(pgstat.Active, wait, 8), group(pgstat.Idle, "", 4)), 8)), kind)
			if !found || !strings.Contains(f.Evidence, "most for "+wait) {
				t.Errorf("%s: %q", wait, f.Evidence)
			}
		}
	}
}

// Connections that take turns are all used, however many are idle at each look.
func TestConnectionsThatTakeTurnsAreNotSaidToBeUnused(t *testing.T) {
	for idle, want := range map[time.Duration]string{98 * time.Millisecond: "more connections than were in use", 2 * time.Hour: "that nobody used", 0: "more connections than"} {
		spare := group(pgstat.Idle, "", 13)
		spare.Oldest = idle
		f, _ := finding(Advise(Question{}, recorded(steadily(group(pgstat.Active, "", 1), spare), 8)), "unused")
		if !strings.Contains(f.Title, want) || strings.Contains(f.Evidence, "one for") != (idle == 2*time.Hour) {
			t.Errorf("idle for %s at most: %+v", idle, f)
		}
	}
}

// What is in use for less than looks can see has no service time of 0.
func TestAServiceTimeThatWasNotSeenIsUnknown(t *testing.T) {
	all := steadily(group(pgstat.Idle, "", 4))
	for i := range all {
		all[i].Transactions = map[string]int64{"app": int64(i * 57)}
	}
	for _, seen := range []int{0, 4, 40} {
		for i := range seen {
			all[i].Groups = []pgstat.Group{group(pgstat.Active, "", 1)}
		}
		if a := Advise(Question{}, recorded(all, 4)); a.Seen.PerS == nil || (a.Seen.Service != nil) != (seen >= leastUsed) {
			t.Errorf("seen in use %d times: %v/s, %v ms", seen, a.Seen.PerS, a.Seen.Service)
		}
	}
}

// Without a size there is no max that leaves idle connections out.
func TestIdleConnectionsWithoutASizeHaveAnotherRemedy(t *testing.T) {
	for _, c := range []struct {
		samples []Sample
		remedy  string
	}{
		{steadily(group(pgstat.Active, "", 1), group(pgstat.Idle, "", 60)), "a max of"},
		{steadily(group(pgstat.Idle, "", 60)), "closing what is idle"},
	} {
		f, _ := finding(Advise(Question{}, recorded(c.samples, 8)), "unused")
		if !strings.Contains(f.Remedy, c.remedy) {
			t.Errorf("%q, want %q in it", f.Remedy, c.remedy)
		}
	}
}

func TestAnIndexThatIsBeingBuiltIsNotToBeDropped(t *testing.T) {
	r := recorded(steadily(group(pgstat.Active, "", 1)), 8)
	for building, want := range map[bool]bool{true: false, false: true} {
		r.Facts.Vectors = pgstat.Vectors{Installed: true, Indexes: []pgstat.VectorIndex{{Index: "i", Method: "hnsw", Building: building}}}
		if _, found := finding(Advise(Question{}, r), "invalid_index"); found != want {
			t.Errorf("building %t: found %t", building, found)
		}
	}
}

// Searches that turn around at once, on the server's machine, do not make the idle
// transactions of another application late callers.
func TestWhoIsLateInOneApplicationSaysNothingOfAnother(t *testing.T) {
	cpu := 1.0
	all := steadily(here(group(pgstat.Active, "", 3)), here(group(pgstat.Turning, "", 17)),
		of("hold", here(group(pgstat.IdleInTransaction, "", 30))), of("hold", here(group(pgstat.Active, "", 1))))
	for i := range all {
		all[i].CPU = &cpu
	}
	a := Advise(Question{}, recorded(all, 2))
	if a.Size.Rule != ByKnee || a.Size.Max < 30 || a.Size.Max > 45 {
		t.Errorf("max %d by %s, and 30 hold a connection while they think: ratio %.1f", a.Size.Max, a.Size.Rule, a.Supply.Ratio)
	}
}

// A burst of milliseconds between two looks was met by none of them.
func TestABurstBetweenTwoLooksIsDemand(t *testing.T) {
	all := steadily(group(pgstat.Idle, "", 40))
	if z := Advise(Question{}, recorded(all, 16)).Size; z.Known {
		t.Fatalf("max %d of nothing", z.Max)
	}
	burst := group(pgstat.Idle, "", 40)
	burst.Between = 17.3
	all[100].Groups = []pgstat.Group{burst}
	nonsense := burst
	nonsense.Between = 41
	all[200].Groups = []pgstat.Group{nonsense}
	a := Advise(Question{}, recorded(all, 16))
	if z := a.Size; z.Rule != ByDemand || z.Max != 18 || z.Lower != 1 || z.Confidence != Low || a.Demand.Peak != 17.3 {
		t.Fatalf("max %d of %d–%d, by %s, confidence %s, peak %g", z.Max, z.Lower, z.Upper, z.Rule, z.Confidence, a.Demand.Peak)
	}
	if why := strings.Join(a.Size.Why, " "); !strings.Contains(why, "shorter than the looks are apart") || !strings.Contains(why, "never more than 18") {
		t.Error(why)
	}
}
