package plant

import "time"

// What happens to the server from outside.

// rampStep is how often a ramp of the capacity moves on.
const rampStep = int64(100 * time.Millisecond)

// drift applies the drifts that are due, and moves a ramp on.
func (p *plant) drift() {
	drifts := p.cfg.Server.Drift
	p.cpu.advance(p.now)
	for p.drifted < len(drifts) && int64(drifts[p.drifted].At) <= p.now {
		d := &drifts[p.drifted]
		p.cpu.law.change(d)
		if d.Connect != nil {
			p.connect = int64(*d.Connect)
		}
		p.drifted++
	}
	next := never
	if p.drifted < len(drifts) {
		next = int64(drifts[p.drifted].At)
		if i := p.drifted - 1; i >= 0 && drifts[i].Ramp && drifts[p.drifted].Factor != nil && drifts[i].Factor != nil {
			from, to := &drifts[i], &drifts[p.drifted]
			share := float64(p.now-int64(from.At)) / float64(to.At-from.At)
			factor := *from.Factor + share*(*to.Factor-*from.Factor)
			p.cpu.law.change(&Drift{Factor: &factor})
			next = min(next, p.now+rampStep)
		}
		p.timers.set(timerDrift, next)
	}
	p.cpu.update()
}

// othersRetry is how often the other clients try again for connections that the server
// had not left.
const othersRetry = int64(time.Second)

// othersChange applies the change of the other clients that is due.
func (p *plant) othersChange() {
	p.othersWanted = p.cfg.Server.Others[p.othered]
	p.others.Connections = min(p.others.Connections, p.othersWanted.Connections)
	if p.othered++; p.othered < len(p.cfg.Server.Others) {
		p.timers.set(timerOthers, int64(p.cfg.Server.Others[p.othered].At))
	}
	p.othersConnect()
}

// othersConnect gives the other clients what the server has left of the connections
// they want: what this pool holds, it keeps. For the rest they try again.
func (p *plant) othersConnect() {
	wanted := &p.othersWanted
	if !p.down {
		p.others.Connections = min(wanted.Connections, max(p.others.Connections, p.room()-p.serverConns))
	}
	p.cpu.advance(p.now)
	p.others.Runnable = min(wanted.Runnable, p.others.Connections)
	p.cpu.others = p.others.Runnable
	p.cpu.update()
	if p.others.Connections < wanted.Connections {
		p.timers.set(timerOthersRetry, p.now+othersRetry)
	}
}

// room is how many connections the server has for this pool and the other clients.
func (p *plant) room() int {
	return max(0, p.cfg.Server.MaxConnections-p.cfg.Server.Reserved-1) // the tuner's own
}

// restart takes the server away. Whatever it was doing is lost: requests that it
// served fail now, those whose caller works elsewhere when they come back, and
// idle connections when they are used. The other clients lose theirs too, and try for
// them again when they can.
func (p *plant) restart() {
	r := p.cfg.Server.Restarts[p.restarted]
	if p.restarted++; p.restarted < len(p.cfg.Server.Restarts) {
		p.timers.set(timerRestart, int64(p.cfg.Server.Restarts[p.restarted].At))
	}
	p.timers.set(timerBack, p.now+int64(r.Down))
	p.down, p.cpu.down = true, true

	var dials []int32
	p.cpu.clear(p.now, func(id int32) {
		if id < 0 {
			dials = append(dials, ^id)
		} else {
			p.tally.runnable.exit(p.now, p.requests[id].since)
		}
	})
	for i := range p.locks {
		p.locks[i] = mutex{owner: -1, head: -1, tail: -1}
	}
	p.io.busy, p.io.queued, p.io.head, p.io.tail = 0, 0, -1, -1
	p.cpu.beside, p.look.lockWaits = 0, 0
	if p.others, p.cpu.others = (Others{}), 0; p.othersWanted.Connections > 0 {
		p.timers.set(timerOthersRetry, p.now+othersRetry)
	}
	for i := range p.pool.conns {
		if c := &p.pool.conns[i]; c.slot && c.state != forking {
			c.dead, c.slot = true, false
			p.serverConns--
		}
	}
	var lost []int32
	for i := range p.requests {
		q := &p.requests[i]
		if q.state == unused {
			continue
		}
		q.locked = false
		if q.state == onCPU || q.state == onIO || q.state == forIO || q.state == forLock {
			p.timers.stop(handle(ofRequest, int32(i)))
			lost = append(lost, int32(i))
		}
	}
	for _, i := range lost {
		p.fail(i)
	}
	for _, c := range dials {
		p.refused(c)
	}
}
