package main

// archive is where articles are saved. In a database it is one statement, and a look at the number of rows:
//
//	UPDATE articles SET text = $1, fence = $2 WHERE id = $3 AND fence <= $2
//
// See examples/fenced, which does that with SQLite, PostgreSQL and Redis.
type archive struct {
	fences         map[string]int64
	saved, refused int
}

// save reports whether an article was saved; it was not if somebody with a larger fence has been there.
func (a *archive) save(article string, fence int64) bool {
	if !a.raise(article, fence) {
		a.refused++
		return false
	}
	a.saved++
	return true
}

// raise shows an article a fence, and saves nothing.
func (a *archive) raise(article string, fence int64) bool {
	if fence < a.fences[article] {
		return false
	}
	a.fences[article] = fence
	return true
}
