package gitpack

// The pages of packs are let go when about trimBytes of them may be in memory.
// With each page that is read the system maps those around it that it has in its
// cache: up to pageRun bytes at once (Linux, fault_around_bytes).
const (
	trimBytes = 16 << 20
	pageRun   = 64 << 10
)

// pages counts what one reader of a repository's packs brings into memory.
type pages struct {
	run   uint64 // the last one that was read
	bytes int64  // not yet in Repo.mapped
}

// touch notes that an entry is read.
func (g *pages) touch(r *Repo, p *pack, pos int) {
	from := p.offset(pos)
	to := from + uint64(p.length[pos])
	if from/pageRun != g.run {
		g.bytes += pageRun
	}
	g.bytes += int64(to/pageRun-from/pageRun) * pageRun
	g.run = to / pageRun
	if g.bytes < trimBytes/16 {
		return
	}
	if r.mapped.Add(g.bytes) > trimBytes {
		r.mapped.Store(0)
		p.m.trim()
		for _, p := range r.packs {
			p.m.trim()
		}
	}
	g.bytes = 0
}
