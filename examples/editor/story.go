package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/lockingworker/lockingworker/lock"
)

// story is the browsers, and what they show.
type story struct {
	one, two *office // the web servers
	archive  archive
	prefix   string // of all articles here: others may play on the same Redis
	lease    time.Duration
	ctx      context.Context
	stop     context.CancelFunc
	events   chan lock.Event // for the side of the screen
	ended    chan struct{}

	err                              error // the first: then nothing more happens
	locked, refused, forced, expired int
}

func newStory(ctx context.Context, url string, lease time.Duration) (*story, error) {
	one, err := newOffice(url, lease)
	if err != nil {
		return nil, err
	}
	two, err := newOffice(url, lease)
	if err != nil {
		one.close()
		return nil, err
	}
	s := &story{
		one: one, two: two, archive: archive{fences: map[string]int64{}}, prefix: "editor-" + rand.Text()[:8] + "/",
		lease: lease, events: make(chan lock.Event, 100), ended: make(chan struct{}),
	}
	s.ctx, s.stop = context.WithCancel(ctx)
	events, err := two.follow(s.ctx)
	if err != nil {
		close(s.ended)
		s.close()
		return nil, err
	}
	go func() {
		defer close(s.ended)
		for e := range events {
			if e.Kind != lock.EventMissed && !strings.HasPrefix(e.Resource, s.prefix) {
				continue
			}
			select {
			case s.events <- e:
			case <-s.ctx.Done():
				return
			}
		}
	}()
	return s, nil
}

func (s *story) close() {
	s.stop()
	<-s.ended
	s.one.close()
	s.two.close()
}

// play is the afternoon.
func (s *story) play() error {
	s.tell("Alice opens three articles.")
	alice := s.open(s.one, "alice", "front", "sport", "weather")
	s.expect(len(alice) == 3)

	s.tell("Bob opens two. One is Alice's: he may read it.")
	bob := s.open(s.two, "bob", "sport", "culture")
	s.expect(len(bob) == 1 && s.refused == 1)

	s.tell("Alice opens one of hers in a second tab. It is not that tab's.")
	second := s.open(s.one, "alice, second tab", "weather")
	s.expect(len(second) == 0 && s.refused == 2)

	s.tell("Bob's browser says that sport is his. Its owner is who counts.")
	kept, lost := s.heartbeat(s.two, "bob", lock.Claims("bob", s.prefix+"sport"))
	s.expect(len(kept) == 0 && len(lost) == 1)

	s.tell("Alice's heartbeat comes to the other server: there she is the owner, too. She saves.")
	kept, _ = s.heartbeat(s.two, "alice", alice)
	s.expect(len(kept) == 3)
	s.expect(s.save("alice", alice, "front"))

	s.tell("An administrator takes sport over, and saves.")
	admin := s.seize(s.one, "admin", "sport")
	s.expect(s.save("admin", admin, "sport"))

	s.tell("Alice does not know yet. She saves what she had typed; then comes her heartbeat.")
	s.expect(!s.save("alice", alice, "sport"))
	kept, lost = s.heartbeat(s.one, "alice", alice)
	s.expect(len(kept) == 2 && len(lost) == 1 && lost[0].Owner == "admin")
	alice = kept.Claims()

	s.tell("The administrator leaves sport, and Bob opens it. He saves, and leaves all.")
	s.leave(s.one, "admin", admin)
	more := s.open(s.two, "bob", "sport")
	s.expect(s.save("bob", more, "sport"))
	s.leave(s.two, "bob", append(bob, more...))

	s.tell("Alice closes her laptop. There is no heartbeat any more.")
	s.await(lock.EventExpire, "alice", alice)

	s.tell("At home it comes again. She opens one of them.")
	_, lost = s.heartbeat(s.one, "alice", alice)
	s.expect(len(lost) == 2 && lost[0].Owner == "" && lost[1].Owner == "")
	alice = s.open(s.one, "alice", "front")
	s.expect(s.list("alice", alice))
	s.leave(s.two, "alice", alice)
	return s.err
}

// errUnexpected says that something was not as the story has it.
var errUnexpected = errors.New("that was not to happen")

func (s *story) tell(what string) {
	if s.err == nil {
		fmt.Println(what)
	}
}

func (s *story) expect(so bool) { s.fail(!so, errUnexpected) }

func (s *story) fail(failed bool, err error) {
	if failed && s.err == nil {
		s.err = err
	}
}

// open shows what a tab sees when it opens articles, and returns what it then has.
func (s *story) open(at *office, tab string, articles ...string) []lock.Claim {
	if s.err != nil {
		return nil
	}
	for i := range articles {
		articles[i] = s.prefix + articles[i]
	}
	opened, refused, err := at.open(s.ctx, tab, articles...)
	s.fail(err != nil, err)
	for _, r := range refused {
		fmt.Printf("  %s sees: %s is %s's, for %v\n", tab, s.name(r.Resource), r.Owner, r.TTL.Round(10*time.Millisecond))
	}
	for _, r := range opened {
		fmt.Printf("  %s sees: %s is yours, for %v\n", tab, s.name(r.Resource), r.TTL)
	}
	s.refused += len(refused)
	s.locked += len(opened)
	s.await(lock.EventLock, tab, opened.Claims())
	return opened.Claims()
}

// heartbeat shows what a tab sees after it.
func (s *story) heartbeat(at *office, tab string, claims []lock.Claim) (kept, lost lock.Results) {
	if s.err != nil {
		return nil, nil
	}
	kept, lost, err := at.heartbeat(s.ctx, claims)
	s.fail(err != nil, err)
	for _, r := range kept {
		fmt.Printf("  %s sees: %s is still yours, for %v\n", tab, s.name(r.Resource), r.TTL)
	}
	for _, r := range lost {
		if r.Owner == "" {
			fmt.Printf("  %s sees: %s is not yours any more, and nobody's\n", tab, s.name(r.Resource))
			continue
		}
		fmt.Printf("  %s sees: %s is %s's\n", tab, s.name(r.Resource), r.Owner)
		s.refused++
	}
	return kept, lost
}

// seize has an administrator take an article, which sees the new fence before anything else.
func (s *story) seize(at *office, tab, article string) []lock.Claim {
	if s.err != nil {
		return nil
	}
	taken, err := at.seize(s.ctx, tab, s.prefix+article)
	s.fail(err != nil, err)
	s.fail(!s.archive.raise(taken.Resource, taken.Fence), errUnexpected)
	s.locked++
	s.forced++
	claims := lock.Results{taken}.Claims()
	s.await(lock.EventLock, tab, claims)
	return claims
}

// save reports whether an article was saved, and shows it.
func (s *story) save(tab string, claims []lock.Claim, article string) bool {
	if s.err != nil {
		return false
	}
	for _, c := range claims {
		if s.name(c.Resource) != article {
			continue
		}
		if s.archive.save(c.Resource, c.Fence) {
			fmt.Printf("  %s sees: %s is saved\n", tab, article)
			return true
		}
		fmt.Printf("  %s sees: %s is not saved, somebody has taken it over\n", tab, article)
		return false
	}
	s.fail(true, errUnexpected)
	return false
}

func (s *story) leave(at *office, tab string, claims []lock.Claim) {
	if s.err == nil {
		err := at.leave(s.ctx, claims)
		s.fail(err != nil, err)
		s.await(lock.EventUnlock, tab, claims)
	}
}

// list reports whether these are all locks that there are, and this tab's.
func (s *story) list(tab string, want []lock.Claim) bool {
	if s.err != nil {
		return false
	}
	held, err := s.two.list(s.ctx, s.prefix)
	s.fail(err != nil, err)
	for _, r := range held {
		fmt.Printf("  all see: %s is %s's\n", s.name(r.Resource), r.Owner)
		if r.Owner != tab || !slices.ContainsFunc(want, func(c lock.Claim) bool { return c.Resource == r.Resource && c.Fence == r.Fence }) {
			return false
		}
	}
	return len(held) == len(want)
}

// await shows the side of the screen until all of these articles have appeared there.
func (s *story) await(kind lock.EventKind, tab string, claims []lock.Claim) {
	missing := map[string]bool{}
	for _, c := range claims {
		missing[c.Resource] = true
	}
	limit := time.NewTimer(s.lease + 30*time.Second)
	defer limit.Stop()
	for s.err == nil && len(missing) > 0 {
		select {
		case e := <-s.events:
			s.show(e)
			if e.Kind == kind && e.Owner == tab {
				delete(missing, e.Resource)
			}
		case <-limit.C:
			s.fail(true, fmt.Errorf("%d times %v by %s is not at the side: %w", len(missing), kind, tab, errUnexpected))
		case <-s.ctx.Done():
			s.fail(true, context.Cause(s.ctx))
		}
	}
}

func (s *story) show(e lock.Event) {
	switch e.Kind {
	case lock.EventLock:
		fmt.Printf("      at the side: %s is %s's\n", s.name(e.Resource), e.Owner)
	case lock.EventUnlock:
		fmt.Printf("      at the side: %s is free\n", s.name(e.Resource))
	case lock.EventExpire:
		fmt.Printf("      at the side: %s is free, %s has not been heard of\n", s.name(e.Resource), e.Owner)
		s.expired++
	default:
		s.fail(true, fmt.Errorf("at the side: %v: %w", e.Kind, errUnexpected))
	}
}

// name is an article's as people see it.
func (s *story) name(article string) string { return strings.TrimPrefix(article, s.prefix) }
