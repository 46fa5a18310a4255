package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/pflag"

	"github.com/pgautotune/autotune/internal/advice"
	"github.com/pgautotune/autotune/internal/advice/live"
	"github.com/pgautotune/autotune/internal/survey"
)

type watchOptions struct {
	surveyFlags
	window time.Duration
	every  time.Duration
	length time.Duration
	output string
	listen string
}

func watchCommand() *command {
	return &command{
		name: "watch", summary: "keep recommending while a service runs, changing nothing",
		about: `Looks at a server as autotune recommend does, without end, and answers again and
again from the last --window. A terminal shows the answer as it is; a pipe gets one line
for each answer that differs from the one before; the last one comes at the end. It
changes nothing. With --listen, /readyz is 503 when the server has answered no look for
five times --every, and no sooner than 25 s: shorter silences a restart has, too.

While the size of the pool is changed by hand, it sees the throughput at each size: that
is how the knee is measured where observation alone cannot know it.`,
		example: []string{
			"autotune watch --dsn postgres://me@db/app --application api",
			"autotune watch --output json | jq .size.max",
			"autotune watch --listen :9187   # a page, and /metrics for Prometheus",
		},
		flags: func(fs *pflag.FlagSet) runner {
			o := &watchOptions{}
			o.surveyFlags.define(fs)
			fs.DurationVar(&o.window, "window", 5*time.Minute, "`time` that an answer rests on")
			fs.DurationVar(&o.every, "every", 5*time.Second, "`time` from answer to answer")
			fs.DurationVar(&o.length, "for", 0, "`time` to watch (default until interrupted)")
			addOutput(fs, &o.output)
			addListen(fs, &o.listen)
			return func(ctx context.Context, _ []string, s *session) error { return o.run(ctx, s) }
		},
	}
}

func (o *watchOptions) validate() error {
	const try = "Try: autotune watch --help"
	if err := o.surveyFlags.validate("watch"); err != nil {
		return err
	}
	switch {
	case o.window < 5*time.Second || o.window > 24*time.Hour:
		return usagef(try, "watch: --window is %s, outside its bounds of 5s to 24h", o.window)
	case o.every < time.Second || o.every > time.Hour:
		return usagef(try, "watch: --every is %s, outside its bounds of 1s to 1h", o.every)
	case o.length < 0:
		return usagef(try, "watch: --for is %s, below 0", o.length)
	}
	return nil
}

// watcher answers again and again. Last and Progress are safe to call at any time.
type watcher struct {
	question advice.Question
	window   time.Duration
	surveyor *survey.Surveyor

	mu       sync.Mutex
	last     *advice.Advice // guarded by mu; not changed once it is here
	progress live.Progress  // guarded by mu
}

func newWatcher(o *watchOptions, surveyor *survey.Surveyor) *watcher {
	return &watcher{question: o.question(), window: o.window, surveyor: surveyor, progress: live.Progress{Began: time.Now(), Every: o.every}}
}

var _ live.Source = (*watcher)(nil)

// Last is the latest answer; nil before the first.
func (w *watcher) Last() *advice.Advice {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last
}

// Progress is how far the watch has come.
func (w *watcher) Progress() live.Progress {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := w.progress
	p.Failures = w.surveyor.Failed()
	return p
}

func (w *watcher) looked(at time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.progress.Looks++
	w.progress.LookedAt = at
}

func (w *watcher) answered(a *advice.Advice, at time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.last = a
	w.progress.Answers++
	w.progress.AnsweredAt = at
}

// refreshEvery is how often settings and vectors are read again.
const refreshEvery = 5 * time.Minute

// run looks until ctx ends, calling each with every answer, the last one at the end,
// however soon that is.
func (w *watcher) run(ctx context.Context, each func(*advice.Advice) error) error {
	var samples []advice.Sample
	var failed error
	every := w.progress.Every // never changes
	due, refreshed := time.Now().Add(every), time.Now()
	var within []advice.Sample
	answer := func(now time.Time) {
		rec := w.surveyor.Known
		rec.Samples, rec.Unseen = within, w.surveyor.Unseen()
		a := advice.Advise(w.question, &rec)
		w.answered(a, now)
		failed = each(a)
	}
	fresh := false // there is a look that no answer has told
	w.surveyor.Watch(ctx, func(s advice.Sample) bool {
		samples, fresh = append(samples, s), true
		old := 0
		for s.At-samples[old].At > w.window {
			old++
		}
		within = samples[old:]
		if old > len(samples)/4 { // seldom, for it copies
			samples = slices.Clone(within)
			within = samples
		}
		now := time.Now()
		w.looked(now)
		if now.Before(due) {
			return true
		}
		due, fresh = now.Add(every), false
		if now.Sub(refreshed) >= refreshEvery {
			refreshed = now
			_ = w.surveyor.Refresh(ctx) // the facts of before still stand; a dead server shows in the looks
		}
		answer(now)
		return failed == nil
	})
	if fresh && failed == nil {
		answer(time.Now())
	}
	return failed
}

func (o *watchOptions) run(ctx context.Context, s *session) (err error) {
	if err := o.validate(); err != nil {
		return err
	}
	screen, notes := newScreen(s.stdout, s.env), newScreen(s.stderr, s.env)
	if screen.file != nil {
		notes = screen // which knows what it has drawn
	}
	surveyor, err := o.open(ctx, "watch", s.env, o.length, notes)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, surveyor.Close()) }()
	if o.length > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.length)
		defer cancel()
	}
	w := newWatcher(o, surveyor)
	page, err := listen(ctx, "watch", o.listen, notes.note)
	if err != nil {
		return err
	}
	defer page.close()
	page.showWatch(w)
	begin, before := time.Now(), ""
	return w.run(ctx, func(a *advice.Advice) error {
		if o.output == outputText && screen.file != nil {
			screen.draw(watched(a)...)
			return nil
		}
		line := decisionLine(a)
		if line == before {
			return nil
		}
		before = line
		if o.output == outputJSON {
			return writeJSONLine(s.stdout, a)
		}
		_, err := fmt.Fprintf(s.stdout, "%7.0f s  %s\n", time.Since(begin).Seconds(), line)
		return err
	})
}

// decisionLine is an answer in one line, which stays the same while the answer does.
func decisionLine(a *advice.Advice) string {
	z := a.Size
	if !z.Known {
		return "no size: " + strings.Join(z.Why, " ")
	}
	return fmt.Sprintf("max %d (%s), min %d, by %s, confidence %s%s", z.Max, between(z.Lower, z.Upper), z.Min, z.Rule, z.Confidence, firstFinding(a))
}

func firstFinding(a *advice.Advice) string {
	if len(a.Findings) == 0 || a.Findings[0].Worth < 5 {
		return ""
	}
	return "; " + a.Findings[0].Title
}

// watched is an answer as the lines of a table that is redrawn.
func watched(a *advice.Advice) []string {
	perS := "unknown"
	if a.Seen.PerS != nil {
		perS = thousands(int64(*a.Seen.PerS + 0.5))
	}
	var each []float64
	for _, step := range a.Demand.Steps {
		each = append(each, step.Share)
	}
	lines := []string{
		decisionLine(a),
		fmt.Sprintf("today %d open, in use %.1f (p99 %.0f) %s  %s transactions/s", a.Today.Open, a.Demand.Mean, a.Demand.P99, sparkline(each, 8), perS),
		applicationTitle,
	}
	for _, x := range a.Applications[:min(8, len(a.Applications))] {
		lines = append(lines, fmt.Sprintf(applicationColumns, applicationRow(x)...))
	}
	return append(lines, fmt.Sprintf("looking for %.0f s, at %.2f %% of a core; end with Ctrl-C", a.Seen.Seconds, 100*a.Seen.Cost))
}
