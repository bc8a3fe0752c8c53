package torture

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/lockingworker/lockingworker/internal/redistest"
	"github.com/lockingworker/lockingworker/lock"
)

// key is one of the keys of a shard, and so tells its slot.
func (s *crewStage) key(shard int) string { return fmt.Sprintf("{%s:%d}:locks", s.namespace, shard) }

// moveAll moves the slot of every shard, several at a time, and one of them so that
// it is half-way for longer than any lease.
func (s *crewStage) moveAll() {
	shards := make(chan int, s.plan.shards)
	for shard := range s.plan.shards {
		shards <- shard
	}
	close(shards)
	var movers sync.WaitGroup
	for n := range s.plan.moving {
		movers.Go(func() {
			rng := rand.New(rand.NewPCG(s.plan.seed, uint64(n)))
			for shard := range shards {
				for i := range s.plan.moves {
					half := between(rng, s.plan.half, s.plan.half*3/2)
					if shard == s.plan.shards/2 && i == 0 {
						half = 3 * s.ttl
					}
					if err := s.move(rng, shard, half); err != nil {
						s.t.Errorf("%s: shard %d: %v", s.name, shard, err)
						return
					}
				}
			}
		})
	}
	movers.Wait()
}

// A crewMove is a shard's slot on its way.
type crewMove struct {
	*redistest.Migration
	from, to *redistest.Server
	slot     int
	state    string // how much had moved when it was left half-way
	since    time.Time
}

// move moves a shard's slot to another master, and leaves it half-way for a while.
func (s *crewStage) move(rng *rand.Rand, shard int, half time.Duration) error {
	ctx, cancel := context.WithTimeout(s.t.Context(), crewPatience)
	defer cancel()
	to := s.others(s.cluster.MasterOf(s.key(shard)))
	m, err := s.moveHalf(ctx, rng, shard, to[rng.IntN(len(to))])
	if err != nil {
		return err
	}
	select {
	case <-time.After(half):
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return s.finish(ctx, m)
}

// others returns all masters but this one.
func (s *crewStage) others(master *redistest.Server) []*redistest.Server {
	var others []*redistest.Server
	for _, m := range s.cluster.Masters() {
		if m.Addr() != master.Addr() {
			others = append(others, m)
		}
	}
	return others
}

// moveHalf marks a shard's slot and moves some of its keys, all, or none.
func (s *crewStage) moveHalf(ctx context.Context, rng *rand.Rand, shard int, to *redistest.Server) (*crewMove, error) {
	m := &crewMove{from: s.cluster.MasterOf(s.key(shard)), to: to, slot: s.cluster.Slot(s.key(shard))}
	var err error
	if m.Migration, err = s.cluster.BeginMigration(ctx, m.slot, to); err != nil {
		return nil, err
	}
	there, err := m.Remaining(ctx)
	if err != nil {
		return nil, err
	}
	if there < 2 {
		return nil, fmt.Errorf("slot %d has %d keys: nothing is held there", m.slot, there)
	}
	var keys int
	switch rng.IntN(5) {
	case 0:
		m.state = "no key moved"
	case 1:
		m.state, keys = "all keys moved", there
	default:
		m.state, keys = "some keys moved", 1+rng.IntN(there-1)
	}
	s.migrates.Lock()
	defer s.migrates.Unlock()
	err = m.Move(ctx, keys)
	m.since = time.Now()
	return m, err
}

// finish ends a move.
func (s *crewStage) finish(ctx context.Context, m *crewMove) error {
	s.migrates.Lock()
	defer s.migrates.Unlock()
	half := time.Since(m.since)
	for {
		err := m.Finish(ctx)
		if err == nil {
			break
		}
		if !strings.Contains(err.Error(), "CLUSTERDOWN") || ctx.Err() != nil { // not all know yet who was promoted
			return err
		}
		<-time.After(20 * time.Millisecond)
	}
	s.noteMove(m, half)
	return nil
}

func (s *crewStage) noteMove(m *crewMove, half time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.moved[m.state]++
	s.halves = append(s.halves, half)
}

// killMasters kills one master after another; each time its replica takes over,
// and it comes back as a replica.
func (s *crewStage) killMasters() {
	rng := rand.New(rand.NewPCG(s.plan.seed, 0))
	for n := range s.plan.kills {
		masters := s.cluster.Masters()
		master := masters[rng.IntN(len(masters))]
		killed := s.kill(master, n%2 == 1)
		s.awaitService(killed)
		s.comeBack(master)
		if s.t.Failed() {
			return
		}
	}
}

// lag is how long before a master's end what it acknowledged may not have been
// sent to its replica yet.
const lag = 200 * time.Millisecond

// kill kills a master; with cut, its replica has missed what it acknowledged last.
// It returns when that was.
func (s *crewStage) kill(master *redistest.Server, cut bool) time.Time {
	s.t.Helper()
	from := now() - lag.Microseconds()
	if cut {
		replica := s.cluster.ReplicaOf(master)
		if replica == nil {
			s.t.Fatalf("%s: %s has no replica", s.name, master)
		}
		replica.Stop()
		defer replica.Continue()
		if err := master.Client(s.t).ClientKillByFilter(s.t.Context(), "type", "replica").Err(); err != nil {
			s.t.Errorf("%s: %v", s.name, err)
		}
		<-time.After(300 * time.Millisecond)
	}
	master.Kill()
	killed := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.losses = append(s.losses, span{from, now() + slack.Microseconds()})
	return killed
}

// awaitService returns when all shards are served again, and notes how long after
// the kill that was.
func (s *crewStage) awaitService(killed time.Time) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), crewPatience)
	defer cancel()
	claims := make([]lock.Claim, 8*s.plan.shards)
	for i := range claims {
		claims[i] = lock.Claim{Resource: fmt.Sprintf("kill %d: %d", len(s.takeovers), i), Owner: "controller", TTL: crewTTL}
	}
	rs, err := s.locker.TryLock(ctx, claims...)
	if err != nil {
		s.t.Errorf("%s: after a master was killed: %v", s.name, err)
	}
	s.takeovers = append(s.takeovers, time.Since(killed))
	if _, err := s.locker.Unlock(ctx, rs.Claims()...); err != nil {
		s.t.Errorf("%s: after a master was killed: %v", s.name, err)
	}
}

// comeBack starts a killed master, and returns when it is a replica and the cluster
// is complete.
func (s *crewStage) comeBack(master *redistest.Server) {
	s.t.Helper()
	master.Restart()
	ctx, cancel := context.WithTimeout(s.t.Context(), crewPatience)
	defer cancel()
	if err := s.cluster.AwaitComplete(ctx); err != nil {
		s.t.Errorf("%s: %v", s.name, err)
	}
}

// killWhileMoving kills masters while slots are half-way: in turn one that neither
// gives nor takes any, and one that takes. The replica of the latter does not know
// that it takes any, so both ends are told again, as an operator would have to.
func (s *crewStage) killWhileMoving() {
	s.killEach(func(n int, from, to, third *redistest.Server) *redistest.Server {
		if n%2 == 1 {
			return to
		}
		return third
	})
}

// killGivers kills masters whose slots are half-way. Their replicas do not know that,
// and serve those slots as if what had moved had never been. The node that was to take
// them takes them for the dead one's, and refuses everything until it is told.
func (s *crewStage) killGivers() {
	s.killEach(func(_ int, from, _, _ *redistest.Server) *redistest.Server { return from })
}

func (s *crewStage) killEach(choose func(n int, from, to, third *redistest.Server) *redistest.Server) {
	s.t.Helper()
	rng := rand.New(rand.NewPCG(s.plan.seed, 1))
	ctx, cancel := context.WithTimeout(s.t.Context(), 5*crewPatience)
	defer cancel()
	for n := range s.plan.kills {
		masters := s.cluster.Masters()
		rng.Shuffle(len(masters), func(i, j int) { masters[i], masters[j] = masters[j], masters[i] })
		from, to := masters[0], masters[1]
		if err := s.killWhileHalf(ctx, rng, from, to, choose(n, from, to, masters[2])); err != nil {
			s.t.Errorf("%s: %v", s.name, err)
		}
		if s.t.Failed() {
			return
		}
	}
}

func (s *crewStage) killWhileHalf(ctx context.Context, rng *rand.Rand, from, to, victim *redistest.Server) error {
	var moves []*crewMove
	for shard := range s.plan.shards {
		if s.cluster.MasterOf(s.key(shard)).Addr() != from.Addr() || len(moves) == s.plan.moving {
			continue
		}
		m, err := s.moveHalf(ctx, rng, shard, to)
		if err != nil {
			return err
		}
		moves = append(moves, m)
	}
	<-time.After(s.plan.half) // by then, what has moved is on the replica
	replica := s.cluster.ReplicaOf(victim)
	if replica == nil {
		return fmt.Errorf("%s has no replica", victim)
	}
	killed := s.kill(victim, false)
	if err := s.promoted(ctx, replica); err != nil {
		return err
	}
	if victim == from {
		if err := s.abandon(ctx, moves, replica); err != nil {
			return err
		}
		moves = nil
	}
	for _, m := range moves {
		if victim == to {
			if err := m.Retarget(ctx, replica); err != nil {
				return err
			}
		}
		if err := s.finish(ctx, m); err != nil {
			return err
		}
	}
	s.awaitService(killed)
	s.comeBack(victim)
	return nil
}

// abandon ends moves whose giver was killed: all of them, before anything is done that
// the node which was to take them must serve.
func (s *crewStage) abandon(ctx context.Context, moves []*crewMove, promoted *redistest.Server) error {
	for _, m := range moves {
		half := time.Since(m.since)
		if err := m.Abandon(ctx, promoted); err != nil {
			return err
		}
		s.noteMove(m, half)
	}
	for _, m := range moves {
		if err := m.Discard(ctx); err != nil {
			return err
		}
	}
	return nil
}

// promoted returns when a replica has become a master, as the first node that answers
// sees it.
func (s *crewStage) promoted(ctx context.Context, replica *redistest.Server) error {
	for {
		if slices.ContainsFunc(s.cluster.Masters(), func(m *redistest.Server) bool { return m.Addr() == replica.Addr() }) {
			return nil
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("%s is not promoted: %w", replica, context.Cause(ctx))
		}
	}
}
