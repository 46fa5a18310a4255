package main

import (
	"fmt"
	"time"
)

// sparkWidth is how many seconds the curves of the live view show: all of a
// usual demo, in a line of 80 columns.
const sparkWidth = 44

// draw shows the last second on a terminal:
//
//	██████████░░░░░░░░░░  18 of 40 s
//	phase 2 of 5, search rush: 64 clients search the index without a pause
//	asking 4,012/s   in use 4.0   queued 60.0   limit 4   max 16
//	limit          4   ▁▁▁▁▁▁▂▄█▄▂▁▁▁
//	done/s     4,010   ▁▁▁▁▁▁▆▇▅▇████
//	p99 ms      16.2   ▁▁▁▁▁▁▄▃█▃▂▂▂▂
//	17.2 s  shrink, limit 8 → 4: fewer connections serve as much or more
func (d *driver) draw(title string) {
	if d.show.file == nil {
		return
	}
	p := d.series[len(d.series)-1]
	elapsed := time.Since(d.start).Seconds()
	total := d.options.duration.Seconds()
	curve := func(name, now string, value func(demoPoint) float64) string {
		values := make([]float64, len(d.series))
		for i, p := range d.series {
			values[i] = value(p)
		}
		return fmt.Sprintf("  %-10s %9s   %s", name, now, sparkline(values, sparkWidth))
	}
	d.show.draw(
		fmt.Sprintf("%s  %.0f of %.0f s", bar(elapsed/total, 30), min(elapsed, total), total),
		title,
		fmt.Sprintf("  asking %s/s   in use %.1f   queued %.1f   limit %d   max %d", thousands(int64(p.ArrivalRate+0.5)), p.InUse, p.Queued, p.Limit, p.Max),
		curve("limit", fmt.Sprint(p.Limit), func(p demoPoint) float64 { return float64(p.Limit) }),
		curve("done/s", thousands(int64(p.Throughput+0.5)), func(p demoPoint) float64 { return p.Throughput }),
		curve("p99 ms", fmt.Sprintf("%.1f", p.P99), func(p demoPoint) float64 { return p.P99 }),
		d.decisionLine(),
	)
}

// decisionLine is the tuner's last decision with its reason.
func (d *driver) decisionLine() string {
	if d.options.fixed > 0 {
		return "  not tuned: --fixed"
	}
	last := d.decisions.latest()
	if last == nil {
		return "  no decision yet"
	}
	change := fmt.Sprintf("limit %d", last.decision.Limit)
	if last.limit != last.decision.Limit {
		change = fmt.Sprintf("limit %d → %d", last.limit, last.decision.Limit)
	}
	if last.max != last.decision.Max {
		change += fmt.Sprintf(", max %d → %d", last.max, last.decision.Max)
	}
	return fmt.Sprintf("  %.1f s  %s, %s: %s", last.at.Sub(d.start).Seconds(), last.decision.Action, change, sentence(last.decision.Reason))
}
