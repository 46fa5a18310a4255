// Package survey looks at a server from outside, for somebody who asks how large a
// pool should be: EFFECTS IN for internal/advice, as internal/pgstat and
// internal/host are for the tuner.
//
// In order of use: survey.go looks; file.go keeps what was seen; trace.go reads
// recordings in the autotune-trace form.
package survey

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgautotune/autotune/internal/advice"
	"github.com/pgautotune/autotune/internal/host"
	"github.com/pgautotune/autotune/internal/pgstat"
)

const (
	// fastest is the pace of looks while they cost little: ten a second show a
	// share of 1 % within 30 s three times.
	fastest = 100 * time.Millisecond
	// slowest is the pace on a server with so many backends that a look is dear.
	slowest = 5 * time.Second
	// costShare of one core is what looking may cost; half of what is promised.
	costShare = 0.0025
	// cpuEvery is how often the machine's CPU is read.
	cpuEvery = time.Second
	// mostLooks is how many looks a survey of a known length takes at most: with so
	// many, more tell nothing new and only fill the memory.
	mostLooks = 40_000
	// patience is how long a server may not answer before it is said.
	patience = 2 * time.Second
	// farewell is how long ending the connection may take.
	farewell = 15 * time.Second
)

// Config says whom to look at.
type Config struct {
	ConnConfig *pgx.ConnConfig
	// Database and Role are those whose connection limits count; empty are those
	// of ConnConfig.
	Database, Role string

	// Length is how long Watch will look, so that a long one looks less often; 0 is
	// unknown.
	Length time.Duration
	// Silent is told the last error when the server has not answered for Patience
	// (default 2 s), once each time. May be nil.
	Silent   func(error)
	Patience time.Duration
}

// Surveyor looks at one server over one connection of its own, read-only, with
// timeouts of its own.
type Surveyor struct {
	cfg     Config
	reader  *pgstat.Reader
	host    *host.Reader
	begin   time.Time
	looked  time.Time // the last look that saw something
	lastCPU time.Time
	spent   []time.Duration // of the last looks
	failed  atomic.Int64
	silent  time.Duration // for how long the server has answered no look, up to the last that it did
	gone    time.Duration // and since then, when Watch ended

	// Known is what does not change from look to look.
	Known advice.Recording
}

// Open connects and reads what does not change.
func Open(ctx context.Context, cfg Config) (*Surveyor, error) {
	if cfg.Patience <= 0 {
		cfg.Patience = patience
	}
	s := &Surveyor{
		cfg:    cfg,
		reader: pgstat.Open(pgstat.Config{ConnConfig: cfg.ConnConfig, Database: cfg.Database, User: cfg.Role, ConnectTimeout: pgstat.Patience(cfg.ConnConfig)}),
		begin:  time.Now(),
	}
	facts, err := s.reader.Facts(ctx)
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	s.Known = advice.Recording{Facts: facts, Source: "a live look", Database: pgstat.DatabaseOf(cfg.ConnConfig)}
	s.Known.Machine = s.machine(ctx, &facts)
	return s, nil
}

// machine is what is known of the server's machine.
func (s *Surveyor) machine(ctx context.Context, f *pgstat.Facts) advice.Machine {
	shared, why := host.SharesMachine(ctx, host.Database{Address: f.Server.Address, UnixSocket: f.Server.UnixSocket, BackendPID: f.Server.BackendPID})
	if !shared {
		return advice.Machine{Why: why}
	}
	if eyes := host.NewOf(f.Server.BackendPID); s.host == nil || !s.host.Same(eyes) {
		s.host = eyes // its limits, not ours
	}
	reading, err := s.host.Read(ctx)
	if err != nil && reading.Cores == 0 {
		return advice.Machine{Why: "the machine cannot be read: " + err.Error()}
	}
	return advice.Machine{Shared: true, Why: why, Cores: reading.Cores, RAMTotal: reading.RAMTotal, RAMFree: reading.RAMFree}
}

// Look takes one sample.
func (s *Surveyor) Look(ctx context.Context) (advice.Sample, error) {
	since := time.Duration(0)
	if !s.looked.IsZero() {
		since = time.Since(s.looked)
	}
	c, err := s.reader.Census(ctx, since)
	if err != nil {
		return advice.Sample{}, err
	}
	now := time.Now()
	s.looked = now
	sample := advice.Sample{At: now.Sub(s.begin), Groups: c.Groups, Transactions: c.Databases, Spent: c.Spent}
	if s.Known.Machine.Shared && now.Sub(s.lastCPU) >= cpuEvery {
		s.lastCPU = now
		if reading, err := s.host.Read(ctx); err == nil && reading.CPUKnown {
			sample.CPU = &reading.CPU
		}
	}
	s.spent = append(s.spent, c.Spent)
	s.spent = s.spent[max(0, len(s.spent)-50):]
	return sample, nil
}

// pace is the time from look to look: so that looking costs costShare of a core.
// The lower quartile, because longer looks waited for a core, which costs nobody.
func (s *Surveyor) pace() time.Duration {
	least := max(fastest, s.cfg.Length/mostLooks)
	if len(s.spent) == 0 {
		return least
	}
	sorted := slices.Sorted(slices.Values(s.spent))
	return max(least, min(slowest, time.Duration(float64(sorted[len(sorted)/4])/costShare)))
}

// Watch looks until ctx ends or each returns false, calling each after every look,
// at its own pace. Looks that fail are counted; a server that is gone may be back.
func (s *Surveyor) Watch(ctx context.Context, each func(advice.Sample) bool) {
	last, told, failing, pause := time.Now(), false, false, time.Duration(0)
	defer func() {
		if failing {
			s.gone = time.Since(last)
		}
	}()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		begin := time.Now()
		sample, err := s.Look(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			if failing {
				s.silent += begin.Sub(last)
			}
			last, told, failing, pause = begin, false, false, 0
			if !each(sample) {
				return
			}
		default:
			s.failed.Add(1)
			failing = true
			pause = pgstat.NextPause(pause)
			if time.Since(last) > max(s.cfg.Patience, 2*s.pace()) && !told && s.cfg.Silent != nil {
				told = true
				s.cfg.Silent(err)
			}
		}
		timer.Reset(max(pause, s.pace()-time.Since(begin)))
	}
}

// Unseen are sentences about what this survey could not see.
func (s *Surveyor) Unseen() (list []string) {
	if n := s.failed.Load(); n > 0 {
		end := ""
		if s.gone > 0 {
			end = ", the end of it among that"
		}
		list = append(list, fmt.Sprintf("What happened in %.1f s of %.0f s%s: %d looks failed or came too late.", (s.silent+s.gone).Seconds(), time.Since(s.begin).Seconds(), end, n))
	}
	return list
}

// Failed is how many looks failed or came too late. It is safe for concurrent use.
func (s *Surveyor) Failed() int64 { return s.failed.Load() }

// Gone is for how long the server had not answered when Watch ended; 0 where it did.
func (s *Surveyor) Gone() time.Duration { return s.gone }

// Refresh reads again what seldom changes.
func (s *Surveyor) Refresh(ctx context.Context) error {
	facts, err := s.reader.Facts(ctx)
	if err != nil {
		return err
	}
	s.Known.Facts, s.Known.Machine = facts, s.machine(ctx, &facts)
	return nil
}

// Close ends the connection, within [farewell].
func (s *Surveyor) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), farewell)
	defer cancel()
	return s.reader.Close(ctx)
}
