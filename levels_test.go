package autotune

import (
	"sync"
	"testing"
	"time"

	"github.com/pgautotune/autotune/internal/model"
	"pgregory.net/rapid"
)

func TestLevelsAddUpTimeAndReturnsLikeASimpleList(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var l levels
		var want model.Levels
		now, inUse := int64(0), 0
		for range rapid.IntRange(1, 200).Draw(t, "events") {
			dt := rapid.Int64Range(0, 1<<20).Draw(t, "ticks") << levelTicks
			if inUse > 0 {
				want[model.LevelOf(inUse)].Time += time.Duration(dt)
			}
			now += dt
			if inUse == 0 || rapid.Bool().Draw(t, "enter") {
				inUse += rapid.IntRange(1, 300).Draw(t, "together")
			} else {
				l.leave(int64(inUse), 1)
				want[model.LevelOf(inUse)].Left++
				inUse--
			}
			l.change(now, int64(inUse))
		}
		if got := l.snapshot(now); got != want {
			t.Fatalf("got %v, want %v", got, want)
		}
	})
}

func TestLevelsLoseNothingUnderManyGoroutines(t *testing.T) {
	var l levels
	const goroutines, each = 16, 2000
	start := time.Now()
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() {
			for i := range each {
				l.change(int64(time.Since(start)), int64(1+(g+i)%40))
				l.leave(int64(1+(g+i)%40), 1)
			}
		})
	}
	wg.Wait()
	end := int64(time.Since(start))
	var left int64
	var spent time.Duration
	for _, v := range l.snapshot(end) {
		left += v.Left
		spent += v.Time
	}
	if left != goroutines*each {
		t.Errorf("%d returns are counted, want %d", left, goroutines*each)
	}
	if off := time.Duration(end) - spent; off < 0 && -off > time.Millisecond || off > time.Duration(end)/10+time.Millisecond {
		t.Errorf("%s of %s are accounted for", spent, time.Duration(end))
	}
}
