package github

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
)

const (
	zeroID      = "0000000000000000000000000000000000000000"
	maxCommits  = 2048 // that a push payload lists
	maxTags     = 3    // in one push, beyond which no event is sent for tags
	maxBranches = 5000 // the same for branches
)

// refUpdate is one ref that a push changed.
type refUpdate struct {
	ref, before, after string
}

// receive runs a receive-pack request and, when refs changed, sends the push
// events that GitHub would send. The answer to the pusher does not wait for them.
func (s *Server) receive(repo *Repo, actor *Account, tok *token, r *http.Request, serve func()) {
	repo.push.Lock()
	before, err := repo.refs()
	if err != nil {
		repo.push.Unlock()
		return
	}
	serve()
	after, err := repo.refs()
	repo.push.Unlock()
	if err != nil {
		return
	}
	updates := changedRefs(before, after)
	if len(updates) == 0 {
		return
	}
	s.mu.Lock()
	repo.pushed = s.now()
	s.mu.Unlock()
	if tok != nil {
		s.recordUse(r, tok, "git.push", repo)
	}
	if actor == nil {
		actor = repo.Owner
	}
	for _, u := range announced(updates) {
		payload, err := s.pushPayload(repo, actor, u, before)
		if err != nil {
			s.logRequest(Request{Method: "PUSH", Path: repo.FullName(), Status: 500, Note: err.Error()})
			continue
		}
		s.deliverRepo(repo, "push", "", payload)
	}
}

func changedRefs(before, after map[string]string) []refUpdate {
	var out []refUpdate
	for ref, id := range after {
		if old := before[ref]; old != id {
			if old == "" {
				old = zeroID
			}
			out = append(out, refUpdate{ref, old, id})
		}
	}
	for ref, id := range before {
		if after[ref] == "" {
			out = append(out, refUpdate{ref, id, zeroID})
		}
	}
	slices.SortFunc(out, func(a, b refUpdate) int { return strings.Compare(a.ref, b.ref) })
	return out
}

// announced leaves out what GitHub sends no push event for.
func announced(updates []refUpdate) []refUpdate {
	count := func(prefix string) int {
		n := 0
		for _, u := range updates {
			if strings.HasPrefix(u.ref, prefix) {
				n++
			}
		}
		return n
	}
	tags, branches := count("refs/tags/"), count("refs/heads/")
	var out []refUpdate
	for _, u := range updates {
		switch {
		case strings.HasPrefix(u.ref, "refs/tags/") && tags <= maxTags:
			out = append(out, u)
		case strings.HasPrefix(u.ref, "refs/heads/") && branches <= maxBranches:
			out = append(out, u)
		}
	}
	return out
}

// Push replays the push event of a ref, as if it had just been moved there; for
// repositories that were prepared on disk.
func (s *Server) Push(repo *Repo, actor *Account, ref, before, after string) error {
	refs, err := repo.refs()
	if err != nil {
		return err
	}
	if isZero(before) {
		delete(refs, ref)
	} else {
		refs[ref] = before
	}
	payload, err := s.pushPayload(repo, actor, refUpdate{ref, before, after}, refs)
	if err != nil {
		return err
	}
	s.deliverRepo(repo, "push", "", payload)
	return nil
}

func (s *Server) pushPayload(repo *Repo, actor *Account, u refUpdate, refsBefore map[string]string) (map[string]any, error) {
	created, deleted := isZero(u.before), isZero(u.after)
	tag := strings.HasPrefix(u.ref, "refs/tags/")
	forced := false
	var commits []map[string]any
	var head any
	if !deleted {
		list, err := repo.listed(u, refsBefore, tag)
		if err != nil {
			return nil, err
		}
		known := map[string]bool{}
		if !tag {
			fresh, err := repo.revList(u.after, "", refsBefore)
			if err != nil {
				return nil, err
			}
			for _, id := range fresh {
				known[id] = true
			}
		}
		commits, err = s.commitObjects(repo, list, known)
		if err != nil {
			return nil, err
		}
		tip, err := repo.git("", "rev-parse", "--verify", "--quiet", u.after+"^{commit}")
		if err == nil {
			heads, err := s.commitObjects(repo, []string{strings.TrimSpace(tip)}, nil)
			if err != nil {
				return nil, err
			}
			heads[0]["distinct"] = true
			head = heads[0]
		}
		if !created {
			_, err = repo.git("", "merge-base", "--is-ancestor", u.before, u.after)
			forced = err != nil
		}
	}
	if commits == nil {
		commits = []map[string]any{}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p := map[string]any{
		"ref": u.ref, "before": u.before, "after": u.after,
		"created": created, "deleted": deleted, "forced": forced,
		"base_ref": baseRef(u, created, refsBefore), "compare": s.compareURL(repo, u, created),
		"commits": commits, "head_commit": head,
		"repository": s.pushRepository(repo),
		"pusher":     map[string]any{"name": actor.Login, "email": actor.Email},
		"sender":     s.simpleUser(actor),
	}
	if repo.Owner.Type == "Organization" {
		p["organization"] = s.orgObject(repo.Owner)
	}
	return p, nil
}

func baseRef(u refUpdate, created bool, refs map[string]string) any {
	if !created {
		return nil
	}
	names := make([]string, 0, len(refs))
	for name, id := range refs {
		if id == u.after && name != u.ref && strings.HasPrefix(name, "refs/heads/") {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	return slices.Min(names)
}

func (s *Server) compareURL(repo *Repo, u refUpdate, created bool) string {
	base := s.url + "/" + repo.FullName() + "/compare/"
	if created {
		return base + strings.TrimPrefix(strings.TrimPrefix(u.ref, "refs/heads/"), "refs/tags/")
	}
	return base + u.before[:12] + "..." + u.after[:12]
}

// listed lists what the payload lists: for a branch that existed, what its new
// tip has and the old had not; for a created one, what no ref had. Tags list nothing.
func (r *Repo) listed(u refUpdate, refsBefore map[string]string, tag bool) ([]string, error) {
	if tag {
		return nil, nil
	}
	var ids []string
	var err error
	if isZero(u.before) {
		ids, err = r.revList(u.after, "", refsBefore)
	} else {
		ids, err = r.revList(u.after, u.before, nil)
	}
	if len(ids) > maxCommits {
		ids = ids[len(ids)-maxCommits:]
	}
	return ids, err
}

// revList lists commits oldest first.
func (r *Repo) revList(tip, not string, refs map[string]string) ([]string, error) {
	lines := []string{tip}
	if not != "" {
		lines = append(lines, "^"+not)
	}
	for _, id := range refs {
		lines = append(lines, "^"+id)
	}
	out, err := r.git(strings.Join(lines, "\n")+"\n", "rev-list", "--topo-order", "--reverse", "--stdin")
	return strings.Fields(out), err
}

func (s *Server) commitObjects(repo *Repo, ids []string, fresh map[string]bool) ([]map[string]any, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	stdin := strings.Join(ids, "\n") + "\n"
	out, err := repo.git(stdin, "log", "--no-walk=unsorted", "--stdin", "-z", "--encoding=UTF-8",
		"--format=%H%x00%T%x00%P%x00%an%x00%ae%x00%cn%x00%ce%x00%cI%x00%B")
	if err != nil {
		return nil, err
	}
	f := strings.Split(strings.TrimSuffix(out, "\x00"), "\x00")
	if len(f) != 9*len(ids) {
		return nil, fmt.Errorf("git log: %d fields for %d commits", len(f), len(ids))
	}
	var lines []string
	commits := make([]map[string]any, 0, len(ids))
	byID := map[string]map[string]any{}
	for ; len(f) > 0; f = f[9:] {
		id, first := f[0], strings.Fields(f[2])
		if len(first) > 1 {
			lines = append(lines, id+" "+first[0]) // a merge is compared with its first parent
		} else {
			lines = append(lines, id)
		}
		c := map[string]any{
			"id": id, "tree_id": f[1], "distinct": fresh[id], "message": strings.TrimRight(f[8], "\n"), "timestamp": f[7],
			"url":    s.url + "/" + repo.FullName() + "/commit/" + id,
			"author": s.person(f[3], f[4]), "committer": s.person(f[5], f[6]),
			"added": []string{}, "removed": []string{}, "modified": []string{},
		}
		byID[id] = c
		commits = append(commits, c)
	}
	return commits, repo.fillPaths(lines, byID)
}

func (r *Repo) fillPaths(lines []string, byID map[string]map[string]any) error {
	out, err := r.git(strings.Join(lines, "\n")+"\n", "diff-tree", "--stdin", "-r", "--root", "-z", "--name-status", "--no-renames")
	if err != nil {
		return err
	}
	f := strings.Split(strings.TrimSuffix(out, "\x00"), "\x00")
	var current map[string]any
	for i := 0; i < len(f); i++ {
		if c := byID[f[i]]; c != nil {
			current = c
			continue
		}
		key := map[string]string{"A": "added", "D": "removed", "M": "modified", "T": "modified"}[f[i]]
		if key == "" || current == nil || i+1 >= len(f) {
			continue
		}
		current[key] = append(current[key].([]string), f[i+1])
		i++
	}
	return nil
}

// person adds the login where the address is a user's.
func (s *Server) person(name, email string) map[string]any {
	p := map[string]any{"name": name, "email": email}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.accounts {
		if a.Email != "" && strings.EqualFold(a.Email, email) {
			p["username"] = a.Login
		}
	}
	return p
}

func isZero(id string) bool { return strings.Trim(id, "0") == "" }
