package controller

import (
	"math"
	"testing"
	"time"
)

// turnsOf is a learner that knows a limit of 8, in the middle of a trial of 16 that takes
// turns with it.
func turnsOf(known float64) *Learner {
	l := &Learner{Wanders: true, Episode: true}
	l.keep(Trial{N: 8, Seconds: 1, Completions: known, Looks: 10, SumXX: known * known})
	l.Current = Trial{N: 16}
	l.takeTurns(time.Millisecond)
	return l
}

// look is a window of a turn.
func look(perSecond float64) window {
	var w window
	w.Elapsed = turnLook
	w.Completions = int64(perSecond * turnLook.Seconds())
	return w
}

func TestATrialIsWorthItsRatioToItsRival(t *testing.T) {
	l := turnsOf(2000)
	if l.Turns.Rival.N != 8 {
		t.Fatalf("the rival is %d, want 8", l.Turns.Rival.N)
	}
	at := time.Duration(0)
	for pair, speed := range []float64{1, 0.7, 1.2, 0.5} { // of the machine, which wanders; 16 gives a fifth more than 8
		for _, of := range []float64{1.2, 1} {
			w := look(2000 * speed * of)
			if over, _ := l.takeTurn(w, time.Millisecond); over {
				t.Fatal("a turn was over after half of its time")
			}
			over, ended := l.takeTurn(w, time.Millisecond)
			if !over || ended != (of == 1) {
				t.Fatalf("pair %d: over %t, pair %t", pair, over, ended)
			}
			l.turn(at)
			at += time.Second
		}
	}
	l.endTurns()
	if x := l.Current.rate(); math.Abs(x/2400-1) > 0.01 {
		t.Errorf("16 is worth %.0f/s beside 2,000/s of 8, want 2,400", x)
	}
	l.keep(l.Current)
	if known := l.at(8); math.Abs(known.rate()/2000-1) > 0.01 || known.Seconds < 1.35 {
		t.Errorf("8 is known to give %.0f/s after %.1f s, want 2,000 after 1.4", known.rate(), known.Seconds)
	}
	l.absolute()
	if x, want := l.at(16).rate(), 2400*(1+0.7+1.2+0.5)/4; math.Abs(x/want-1) > 0.01 {
		t.Errorf("at the mean speed of the machine 16 gives %.0f/s, want %.0f", x, want)
	}
}

func TestWhatIsFarApartNeedsNoRival(t *testing.T) {
	l := turnsOf(2000)
	for range 20 {
		if over, pair := l.takeTurn(look(5000), time.Millisecond); over {
			if !pair || l.Turns.Rival.N != 0 || l.Current.Seconds < trialLeast {
				t.Errorf("over with pair %t, rival %d, after %.2f s; want the end of the trial after %.1f s", pair, l.Turns.Rival.N, l.Current.Seconds, trialLeast)
			}
			return
		}
	}
	t.Error("five times the throughput of the rival waits for the rival's turn")
}

func TestTurnsAreForMachinesThatWander(t *testing.T) {
	trial := func(scatter float64) Trial { // of 20 looks of 0.1 s around 3,000/s
		t := Trial{N: 8}
		for i := range 20 {
			x := 3000 * (1 + scatter*float64(i%2*2-1))
			t.Seconds += 0.1
			t.Completions += x * 0.1
			t.SumXX += x * x * 0.1
			t.Looks++
		}
		return t
	}
	for _, c := range []struct {
		about   string
		scatter float64 // of a look
		rest    float64 // noise over a second, at rest
		want    bool
	}{
		{"counting alone", 0.06, 0, false},
		{"a machine that wanders", 0.18, 0, true},
		{"a slow wander, which looks do not show but windows at rest do", 0.03, 0.1, true},
		{"a machine that was quiet for long", 0.06, 0.02, false},
	} {
		l := &Learner{}
		l.keep(trial(c.scatter))
		if c.rest > 0 {
			l.Store.Drift.Compared, l.Store.Drift.Variance = 200, c.rest*c.rest
		}
		if got := l.wanders(); got != c.want {
			t.Errorf("%s: wanders %t, want %t", c.about, got, c.want)
		}
	}
}

// Turns are steadier than other trials, which is no sign of a quiet machine.
func TestAnEpisodeThatTookTurnsGoesOnWithThem(t *testing.T) {
	steady := Trial{N: 8, Seconds: 1, Completions: 3000, Looks: 10, SumXX: 3000 * 3000 * 1.01, Service: 10, ServiceSq: 0.05}
	l := &Learner{Episode: true, Wanders: true, Counted: 6000, Leveled: 6000}
	l.keep(steady)
	if !l.wanders() {
		t.Error("steady trials in turns are taken for a quiet machine")
	}
	l.absolute() // the episode is over
	if l.wanders() {
		t.Error("at rest, trials that were all steady are taken for a machine that wanders")
	}
}
