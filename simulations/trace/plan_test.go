package trace

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"testing"

	"gonum.org/v1/gonum/stat"
	"pgregory.net/rapid"
)

// stream runs a plan over the text of a trace.
func stream(t testing.TB, p Plan, header, rows string) (all []Event, notes []string) {
	t.Helper()
	r, err := NewReader(strings.NewReader(magic+header+"\n"+rows), "x")
	if err != nil {
		t.Fatal(err)
	}
	s, err := p.Stream(r)
	if err != nil {
		t.Fatal(err)
	}
	for {
		var e Event
		if err := s.Next(&e); err == io.EOF {
			return all, s.Notes()
		} else if err != nil {
			t.Fatal(err)
		}
		if len(all) > 0 && e.T < all[len(all)-1].T {
			t.Fatalf("%v after %v", e.T, all[len(all)-1].T)
		}
		all = append(all, e)
	}
}

func gaps(all []Event) (gaps []float64) {
	for i := 1; i < len(all); i++ {
		gaps = append(gaps, all[i].T-all[i-1].T)
	}
	return gaps
}

func between(all []Event, from, to float64) int {
	n := 0
	for _, e := range all {
		if e.T >= from && e.T < to {
			n++
		}
	}
	return n
}

func TestThePlanThatDoesNothingChangesNothing(t *testing.T) {
	all, _ := stream(t, Plan{}, `{"version":1,"kind":"events"}`, "t_s,service_ms,class\n0,1,a\n1,2,b\n1,,c\n")
	want := []Event{event(0, func(e *Event) { e.Service, e.Class = 1, "a" }), event(1, func(e *Event) { e.Service, e.Class = 2, "b" }), event(1, func(e *Event) { e.Class = "c" })}
	if !same(all, want) {
		t.Errorf("%+v", all)
	}
}

func TestQuantisedTimesAreSpreadInsideTheirQuantum(t *testing.T) {
	rows := "t_s,cost\n" + strings.Repeat("3,1\n", 1000) + strings.Repeat("4,2\n", 10) + "9,3\n"
	all, _ := stream(t, Plan{Seed: 7}, `{"version":1,"kind":"events","quantum_s":1}`, rows)
	if len(all) != 1011 || between(all, 3, 4) != 1000 || between(all, 4, 5) != 10 || between(all, 9, 10) != 1 {
		t.Fatalf("%d requests, %d in second 3", len(all), between(all, 3, 4))
	}
	if half := between(all, 3, 3.5); half < 440 || half > 560 {
		t.Errorf("%d of 1000 in the first half of the second", half)
	}
	again, _ := stream(t, Plan{Seed: 7}, `{"version":1,"kind":"events","quantum_s":1}`, rows)
	other, _ := stream(t, Plan{Seed: 8}, `{"version":1,"kind":"events","quantum_s":1}`, rows)
	if !same(all, again) || same(all, other) {
		t.Error("the seed does not decide")
	}
}

// A log has the end in whole seconds, and to the millisecond how long it took.
func TestTimesOffTheTicksAreSpreadOverTheirQuantumToo(t *testing.T) {
	var at []float64
	for i := range 1000 {
		at = append(at, 100+float64(i/100)-float64(1+i%9)/1000)
	}
	slices.Sort(at)
	rows := "t_s\n"
	for _, x := range at {
		rows += fmt.Sprintf("%.3f\n", x)
	}
	all, _ := stream(t, Plan{Seed: 7}, `{"version":1,"kind":"events","quantum_s":1}`, rows)
	if len(all) != 1000 || !slices.IsSortedFunc(all, func(a, b Event) int { return cmp.Compare(a.T, b.T) }) {
		t.Fatalf("%d events, in order: %v", len(all), all[:10])
	}
	for second := 101; second < 109; second++ {
		if last := between(all, float64(second)+0.9, float64(second)+1); last < 2 || last > 25 {
			t.Errorf("%d of about 100 requests came in the last tenth of second %d", last, second)
		}
	}
}

func TestScalingKeepsTheHeightOfBursts(t *testing.T) {
	// 10 s at 1/s, then a burst of 1 s at 100/s, then 10 s at 1/s.
	var rows strings.Builder
	rows.WriteString("t_s\n")
	for i := range 10 {
		fmt.Fprintf(&rows, "%d\n", i)
	}
	for i := range 100 {
		fmt.Fprintf(&rows, "%v\n", 10+float64(i)/100)
	}
	for i := range 10 {
		fmt.Fprintf(&rows, "%d\n", 11+i)
	}
	for _, scale := range []float64{0.5, 2.5, 40} {
		all, _ := stream(t, Plan{RateScale: scale, Seed: 1}, `{"version":1,"kind":"events"}`, rows.String())
		burst, rest := float64(between(all, 10, 11)), float64(len(all)-between(all, 10, 11))
		if math.Abs(burst-100*scale) > 4*math.Sqrt(25*scale) || math.Abs(rest-20*scale) > 4*math.Sqrt(5*scale)+1 {
			t.Errorf("times %v: %v in the burst, %v outside of it", scale, burst, rest)
		}
	}
}

func TestFanOutCompressionAndWeightMultiplyAsTheySay(t *testing.T) {
	header, rows := `{"version":1,"kind":"events"}`, "t_s,service_ms,weight\n0,5,1\n60,6,2\n120,7,0\n"
	all, _ := stream(t, Plan{FanOut: 3, TimeCompress: 60}, header, rows)
	var times []float64
	for _, e := range all {
		times = append(times, e.T)
	}
	if len(all) != 9 || !slices.Equal(times[:3], []float64{0, 0, 0}) || between(all, 1, 2) != 6 || all[8].Service != 6 {
		t.Errorf("%v", times)
	}
}

func TestIntervalsBecomeArrivalsOfTheirRateAndVariation(t *testing.T) {
	header := `{"version":1,"kind":"intervals"}`
	for _, cv := range []float64{0, 0.5, 1, 3} {
		rows := fmt.Sprintf("t_s,dur_s,rate_rps,ia_cv,service_ms_mean,service_ms_cv\n0,1000,100,%v,8,0.5\n", cv)
		all, notes := stream(t, Plan{Seed: 3}, header, rows)
		mean, sd := stat.MeanStdDev(gaps(all), nil)
		if got := sd / mean; math.Abs(got-cv) > 0.05*cv+1e-9 {
			t.Errorf("variation %v instead of %v", got, cv)
		}
		if n := float64(len(all)); math.Abs(n-1e5) > 5*max(1, cv)*math.Sqrt(1e5) {
			t.Errorf("variation %v: %v arrivals instead of 100000", cv, n)
		}
		var services []float64
		for _, e := range all {
			services = append(services, e.Service)
		}
		mean, sd = stat.MeanStdDev(services, nil)
		if math.Abs(mean-8) > 0.1 || math.Abs(sd/mean-0.5) > 0.02 {
			t.Errorf("service times of %v ms, variation %v", mean, sd/mean)
		}
		if len(notes) != 0 {
			t.Errorf("%q", notes)
		}
	}
}

func TestRatesAreFollowedOverTimeAndWhatIsUnknownIsSaid(t *testing.T) {
	rows := "t_s,dur_s,rate_rps\n0,,1000\n10,10,0\n20,10,\n40,10,2000\n45,10,500\n"
	all, notes := stream(t, Plan{Seed: 1, RateScale: 2}, `{"version":1,"kind":"intervals"}`, rows)
	for _, c := range []struct{ from, to, want float64 }{{0, 10, 20000}, {10, 40, 0}, {40, 45, 20000}, {45, 55, 10000}, {55, 1e9, 0}} {
		if got := float64(between(all, c.from, c.to)); math.Abs(got-c.want) > 5*math.Sqrt(c.want) {
			t.Errorf("%v to %v s: %v arrivals instead of %v", c.from, c.to, got, c.want)
		}
	}
	if text := strings.Join(notes, "\n"); len(notes) != 5 || !strings.Contains(text, "overlap for 5s") || !strings.Contains(text, "service time is unknown in 3 of 3 intervals with arrivals: no known one is near") || !strings.Contains(text, "unknown for 10s") || !strings.Contains(text, "gaps of 10s") || !strings.Contains(text, "5 of 5 intervals") {
		t.Errorf("%q", notes)
	}
	if !math.IsNaN(all[0].Service) {
		t.Error("a service time was invented")
	}
}

func TestAnIntervalWithoutAServiceTimeGetsThatOfTheKnownOnes(t *testing.T) {
	header := `{"version":1,"kind":"intervals","service_kind":"observed"}`
	// 0 unknown; 10 s and 20 s known with weights 1:3; 30 s unknown; 40 s is quiet.
	rows := "t_s,dur_s,rate_rps,service_ms_mean,service_ms_cv,active\n0,10,1000,,0,\n10,10,500,2,0,8\n20,10,1500,6,0,8\n30,10,1000,,0,8\n40,10,0,,0,\n"
	for _, c := range []struct {
		name string
		plan Plan
		want [4]float64 // ms, of each interval
	}{
		{"as recorded", Plan{Seed: 1}, [4]float64{2, 2, 6, 5}},
		{"more of them", Plan{Seed: 1, RateScale: 2}, [4]float64{2, 2, 6, 5}},
		{"without contention", Plan{Seed: 1, Cores: 4}, [4]float64{1, 1, 3, 2.5}}, // divided by 8 in use / 4 cores
	} {
		t.Run(c.name, func(t *testing.T) {
			all, notes := stream(t, c.plan, header, rows)
			for _, e := range all {
				if want := c.want[min(3, int(e.T/10))]; math.Abs(e.Service-want) > 1e-9 {
					t.Fatalf("at %v s: %v ms instead of %v", e.T, e.Service, want)
				}
			}
			if len(all) < 30_000 || !strings.Contains(strings.Join(notes, "\n"), "The service time is unknown in 2 of 4 intervals with arrivals: it is drawn") {
				t.Errorf("%d requests, %q", len(all), notes)
			}
			r, err := NewReader(strings.NewReader(magic+header+"\n"+rows), "x")
			if err != nil {
				t.Fatal(err)
			}
			if about := c.plan.About(r); !slices.Equal(about, append(c.plan.Describe(r.Header()), notes...)) {
				t.Errorf("the report says %q, the stream %q", about, notes)
			}
		})
	}
}

// A request whose service time nobody recorded is not said to be as observed.
func TestRequestsOfUnknownLengthAreSaid(t *testing.T) {
	for rows, want := range map[string]string{
		"0,5\n1,5\n2,5\n":                   "as observed",
		"0,5\n1,\n2,5\n":                    "unknown in 1 of 3 requests",
		"0,\n1,\n":                          "unknown in 2 of 2 requests",
		strings.Repeat("1,\n", aboutMost+1): fmt.Sprintf("unknown in %d of the first %d requests", aboutMost, aboutMost),
	} {
		r, err := NewReader(strings.NewReader(magic+`{"version":1,"kind":"events","service_kind":"observed"}`+"\nt_s,service_ms\n"+rows), "x")
		if err != nil {
			t.Fatal(err)
		}
		about := strings.Join(Plan{}.About(r), "\n")
		if !strings.Contains(about, want) {
			t.Errorf("%q is not said: %s", want, about)
		}
		if all := !strings.Contains(rows, ",5"); strings.Contains(about, "as observed") == all {
			t.Errorf("of %.20q… it is said: %s", rows, about)
		}
	}
}

func TestAServiceTimeTooFarAheadIsNotWaitedFor(t *testing.T) {
	var rows strings.Builder
	rows.WriteString("t_s,dur_s,rate_rps,service_ms_mean\n")
	for i := range maxAhead + 10 {
		fmt.Fprintf(&rows, "%d,1,1,\n", i)
	}
	fmt.Fprintf(&rows, "%d,1,1,7\n%d,100,1,\n", maxAhead+10, maxAhead+11)
	all, notes := stream(t, Plan{}, `{"version":1,"kind":"intervals"}`, rows.String())
	if !math.IsNaN(all[0].Service) || math.IsNaN(all[len(all)-1].Service) {
		t.Errorf("%v … %v", all[0], all[len(all)-1])
	}
	if text := strings.Join(notes, "\n"); !strings.Contains(text, fmt.Sprintf("unknown in %d of %d intervals with arrivals: in 1 of these", maxAhead+11, maxAhead+12)) {
		t.Errorf("%q", notes)
	}
}

func TestAnAbsurdRateOrWeightIsAnErrorAndEnds(t *testing.T) {
	for _, text := range []string{
		`{"version":1,"kind":"intervals"}` + "\nt_s,dur_s,rate_rps\n0,10,1e300\n",
		`{"version":1,"kind":"events"}` + "\nt_s,weight\n0,1e18\n",
	} {
		r, err := NewReader(strings.NewReader(magic+text), "x")
		if err != nil {
			t.Fatal(err)
		}
		s, err := Plan{}.Stream(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Next(&Event{}); err == nil || !strings.Contains(err.Error(), "is the most") {
			t.Errorf("%v", err)
		}
	}
}

func TestDeflationRecoversServiceTimesUnderProcessorSharing(t *testing.T) {
	// n queries of 10 ms that begin and end together on 4 shared cores take
	// 10 n / 4 ms each.
	var rows strings.Builder
	rows.WriteString("t_s,service_ms,inuse\n")
	for i, n := range []int{1, 4, 8, 20} {
		for range n {
			fmt.Fprintf(&rows, "%d,%v,%d\n", i, 10*math.Max(1, float64(n)/4), n)
		}
	}
	all, _ := stream(t, Plan{Cores: 4}, `{"version":1,"kind":"events","service_kind":"observed"}`, rows.String())
	for _, e := range all {
		if math.Abs(e.Service-10) > 1e-9 {
			t.Errorf("in use %v: %v ms", e.InUse, e.Service)
		}
	}
	base, _ := stream(t, Plan{Cores: 4}, `{"version":1,"kind":"events","service_kind":"base"}`, rows.String())
	if base[len(base)-1].Service != 50 {
		t.Error("a base service time was deflated")
	}
	counted, _ := stream(t, Plan{Cores: 2}, `{"version":1,"kind":"events","service_kind":"observed"}`, "t_s,service_ms,wait_ms\n0,1000,\n0.1,1000,\n0.2,1000,\n0.3,1000,\n5,1000,\n")
	if got := []float64{counted[1].Service, counted[2].Service, counted[3].Service, counted[4].Service}; !slices.Equal(got, []float64{1000, 2000.0 / 3, 500, 1000}) {
		t.Errorf("counted from the trace: %v", got)
	}
}

// 40 requests at once on 4 cores are no others for being written as 4 rows, or as the
// tenth of them that a sample has.
func TestDeflationCountsWhatARowStandsFor(t *testing.T) {
	for _, c := range []struct {
		name, header, rows string
		plan               Plan
		requests           int
		mean               float64
	}{
		{"a row each", "", strings.Repeat("1,1000,\n", 40), Plan{Cores: 4}, 40, 319.5},
		{"a weight", "", strings.Repeat("1,1000,10\n", 4), Plan{Cores: 4}, 40, 319.5},
		{"a weight and a rate", "", strings.Repeat("1,1000,10\n", 4), Plan{Cores: 4, RateScale: 2}, 80, 319.5},
		{"a sample", `,"sample_rate":0.1`, strings.Repeat("1,1000,\n", 4), Plan{Cores: 4}, 4, (1000 + 4000.0/11 + 4000.0/21 + 4000.0/31) / 4},
	} {
		all, _ := stream(t, c.plan, `{"version":1,"kind":"events","service_kind":"observed"`+c.header+"}", "t_s,service_ms,weight\n"+c.rows)
		sum := 0.0
		for _, e := range all {
			sum += e.Service
		}
		if mean := sum / float64(len(all)); len(all) != c.requests || math.Abs(mean-c.mean) > 0.1 {
			t.Errorf("%s: %d requests of %.1f ms in the mean, instead of %d of %.1f", c.name, len(all), mean, c.requests, c.mean)
		}
	}
}

// sharing runs Poisson arrivals through shared cores and returns the trace of it.
func sharing(random interface{ ExpFloat64() float64 }, arrivals int, rate, mean, cores float64) string {
	type job struct{ left, total, begin float64 }
	var rows []Event
	var running []*job
	now, arrival := 0.0, random.ExpFloat64()/rate
	for len(rows) < arrivals {
		speed := math.Min(1, cores/float64(len(running)))
		next := arrival
		var first *job
		for _, j := range running {
			if end := now + j.left/speed; end < next {
				next, first = end, j
			}
		}
		for _, j := range running {
			j.left -= (next - now) * speed
		}
		now = next
		if first == nil {
			s := mean * random.ExpFloat64()
			running = append(running, &job{s, s, now})
			arrival = now + random.ExpFloat64()/rate
			continue
		}
		running = slices.DeleteFunc(running, func(j *job) bool { return j == first })
		rows = append(rows, Event{T: first.begin, Service: 1000 * (now - first.begin), Cost: 1000 * first.total})
	}
	slices.SortFunc(rows, func(a, b Event) int { return int(math.Copysign(1, a.T-b.T)) })
	var b strings.Builder
	b.WriteString("t_s,service_ms,cost\n")
	for _, e := range rows {
		fmt.Fprintf(&b, "%.9f,%v,%v\n", e.T, e.Service, e.Cost)
	}
	return b.String()
}

func TestDeflationOfARandomRunIsCloserToTheTruthThanTheObservation(t *testing.T) {
	rows := sharing(Plan{Seed: 5}.random(9), 20_000, 340, 0.01, 4) // 85 % busy
	header := `{"version":1,"kind":"events","service_kind":"observed"}`
	observed, _ := stream(t, Plan{}, header, rows)
	deflated, _ := stream(t, Plan{Cores: 4}, header, rows)
	var truth, before, after float64
	for i := range observed {
		truth, before, after = truth+observed[i].Cost, before+observed[i].Service, after+deflated[i].Service
	}
	t.Logf("observed %.2f times the truth, deflated %.2f times", before/truth, after/truth)
	if before/truth < 1.4 || math.Abs(after/truth-1) > 0.15 {
		t.Errorf("observed %.2f times the truth, deflated %.2f times", before/truth, after/truth)
	}
}

func TestEverythingAPlanDoesIsSaid(t *testing.T) {
	no := false
	for _, c := range []struct {
		plan   Plan
		header Header
		want   []string
	}{
		{Plan{}, Header{Kind: Events, ServiceKind: Base}, nil},
		{Plan{}, Header{Kind: Events}, []string{"the trace does not say"}},
		{Plan{Seed: 4}, Header{Kind: Events, ServiceKind: Base, QuantumS: 1}, []string{"recorded to 1s", "seed 4"}},
		{Plan{RateScale: 3}, Header{Kind: Events, ServiceKind: Base}, []string{"times 3", "copies"}},
		{Plan{RateScale: 0.3}, Header{Kind: Events, ServiceKind: Base}, []string{"times 0.3", "kept"}},
		{Plan{RateScale: 3}, Header{Kind: Intervals, ServiceKind: Base}, []string{"renewal process", "times 3"}},
		{Plan{FanOut: 4, TimeCompress: 60}, Header{Kind: Events, ServiceKind: Base}, []string{"Fan-out 4", "compressed 60 times", "a recorded day passes in 24m0s"}},
		{Plan{}, Header{Kind: Events, ServiceKind: Base, SampleRate: 0.1, OpenLoop: &no}, []string{"sample of 0.1", "a rate scale of 10", "closed loop"}},
		{Plan{}, Header{Kind: Events, ServiceKind: Observed}, []string{"as observed", "Naming the recorded database's cores"}},
		{Plan{Cores: 4}, Header{Kind: Events, ServiceKind: Observed}, []string{"divided by connections in use / 4 cores"}},
	} {
		text := strings.Join(c.plan.Describe(c.header), " ")
		for _, want := range c.want {
			if !strings.Contains(text, want) {
				t.Errorf("%+v of %+v says %q, without %q", c.plan, c.header, text, want)
			}
		}
		if c.want == nil && text != "" {
			t.Errorf("a plan that does nothing says %q", text)
		}
	}
	for _, p := range []Plan{{RateScale: -1}, {RateScale: math.NaN()}, {FanOut: -1}, {FanOut: 1e6}, {TimeCompress: math.Inf(1)}, {Cores: -4}} {
		if p.Validate() == nil {
			t.Errorf("%+v is fine", p)
		}
	}
}

func TestAnyPlanGivesRequestsInOrderOfTime(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var rows strings.Builder
		rows.WriteString("t_s\n")
		at := 0
		for range rapid.IntRange(0, 50).Draw(rt, "rows") {
			at += rapid.IntRange(0, 3).Draw(rt, "gap")
			fmt.Fprintf(&rows, "%d\n", at)
		}
		p := Plan{RateScale: rapid.Float64Range(0.1, 5).Draw(rt, "rate"), FanOut: rapid.IntRange(0, 3).Draw(rt, "fan"), TimeCompress: rapid.Float64Range(0.1, 9).Draw(rt, "compress"), Seed: rapid.Uint64().Draw(rt, "seed")}
		stream(t, p, `{"version":1,"kind":"events","quantum_s":2}`, rows.String())
	})
}
