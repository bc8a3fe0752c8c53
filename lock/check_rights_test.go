package lock_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/lockingworker/lockingworker/internal/redistest"
	"github.com/lockingworker/lockingworker/lock"
)

// TestCheckNamesEachMissingRight: with every word of the smallest ACL taken away,
// in turn, whether the user may ask ACL DRYRUN or has to try; and nothing else is
// named.
func TestCheckNamesEachMissingRight(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Own)
	admin := s.Client(t)
	for _, may := range []string{"", " +acl|whoami +acl|dryrun"} {
		for _, word := range strings.Fields(lock.ACLOf("app", false)) {
			if word == "+hello" { // since Redis 7.0 always allowed, like AUTH
				continue
			}
			ctx := bounded(t)
			less := strings.Replace(lock.ACLOf("app", false)+" ", word+" ", "", 1) + may
			user := strings.Fields(account("app", less))
			wantErr(t, admin.ACLSetUser(ctx, user[0], append([]string{"reset"}, user[1:]...)...).Err(), nil)
			r := checked(t, as(t, s, "app"), lock.Config{Namespace: "app"})
			wantFinding(t, r, lock.SeverityProblem, "right-missing", "")
			for _, f := range r.Findings {
				if f.Code == "right-missing" && !strings.HasSuffix(f.Do, " "+word) {
					t.Errorf("without %s:%s\n%s", word, may, f)
				}
			}
		}
	}
	for key, word := range map[string]string{"&app:events": "&app:wake:*", "&app:wake:": "&app:events"} {
		user := strings.Fields(account("app", strings.Replace(lock.ACLOf("app", false), "&app:*", word, 1)))
		wantErr(t, admin.ACLSetUser(bounded(t), user[0], append([]string{"reset"}, user[1:]...)...).Err(), nil)
		wantFinding(t, checked(t, as(t, s, "app"), lock.Config{Namespace: "app"}), lock.SeverityProblem, "right-missing", strings.TrimPrefix(key, "&"))
	}
	if n := must[int64](t)(admin.DBSize(bounded(t)).Result()); n != 0 {
		t.Errorf("%d keys were written", n)
	}
}

func TestCheckNamesEachMissingRightOnCluster(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t, redistest.Own)
	for _, word := range []string{"-cluster|slots", "-asking", "-command", "-zadd", "-hsetnx", "-publish", "resetchannels", "resetkeys"} {
		user := strings.Fields(account("app", lock.ACLOf("app", true)+" "+word))
		for _, s := range c.Masters() {
			wantErr(t, s.Client(t).ACLSetUser(bounded(t), user[0], append([]string{"reset"}, user[1:]...)...).Err(), nil)
		}
		o := c.Options()
		o.Username, o.Password = "app", password
		rdb := redis.NewClusterClient(o)
		t.Cleanup(func() { _ = rdb.Close() })
		r, err := lock.Check(bounded(t), rdb, lock.Config{Namespace: "app"})
		if word == "-cluster|slots" { // then the client does not find the masters
			wantDenied(t, err)
			continue
		}
		wantErr(t, err, nil)
		command := strings.TrimPrefix(word, "-")
		named := false
		for _, f := range r.Findings {
			if f.Code == "right-missing" && (strings.HasSuffix(f.Do, "+"+command) || strings.HasPrefix(word, "reset")) {
				named = named || f.Node == "every master"
			} else if f.Severity == lock.SeverityProblem {
				t.Errorf("with %s: %s", word, f)
			}
		}
		if !named {
			t.Errorf("with %s, found\n%s", word, r)
		}
	}
}

// TestDocumentedRightsAreThoseOfTheList: doc.go and docs/operations.md have what
// Check goes by.
func TestDocumentedRightsAreThoseOfTheList(t *testing.T) {
	t.Parallel()
	sorted := func(line string) []string {
		words := strings.Fields(line)
		slices.Sort(words)
		return words
	}
	line, more := rights(t, "app")
	if want := lock.ACLOf("app", false); !slices.Equal(sorted(line), sorted(want)) {
		t.Errorf("doc.go has\n%s\nwant\n%s", line, want)
	}
	if want := lock.ACLOf("app", true); !slices.Equal(sorted(line+" "+more), sorted(want)) {
		t.Errorf("on Cluster doc.go has\n%s %s\nwant\n%s", line, more, want)
	}
	page := string(must[[]byte](t)(os.ReadFile("../docs/operations.md")))
	for _, cluster := range []bool{false, true} {
		if want := lock.ACLOf("lockingworker", cluster); !strings.Contains(strings.ReplaceAll(page, "\n", " "), want+" ") {
			t.Errorf("docs/operations.md does not have\n%s", want)
		}
	}
}
