package orgscan

import (
	"context"
	"errors"
	"slices"
	"strings"

	"stanch/internal/secret"
	"stanch/scanner/gitpack"
	"stanch/scanner/gitwire"
	"stanch/scanner/history"
)

// open fetches a repository, or, for a path, opens it where it is.
func open(ctx context.Context, address string, token secret.Value, l gitwire.Limits) (*gitwire.Mirror, error) {
	if strings.Contains(address, "://") {
		return gitwire.Clone(ctx, gitwire.Remote{URL: address, Token: token}, l, nil)
	}
	dir, ok := history.GitDir(address)
	if !ok {
		return nil, errors.New("no Git repository is there")
	}
	repo, err := gitpack.OpenContext(ctx, dir)
	if err != nil {
		return nil, err
	}
	return &gitwire.Mirror{Dir: dir, Repo: repo}, nil
}

// tips gives the commits that refs name, through tags too, each once.
func tips(repo *gitpack.Repo) ([]string, error) {
	r := repo.NewReader(0, 1<<20)
	seen := map[gitpack.ID]bool{}
	var out []string
	err := repo.Refs(func(_ string, id gitpack.ID) error {
		for range 8 { // tags of tags
			n := repo.Find(id)
			if n == gitpack.None || seen[id] {
				return nil
			}
			seen[id] = true
			switch repo.Type(n) {
			case gitpack.Commit:
				out = append(out, id.String())
				return nil
			case gitpack.Tag:
				_, data, err := r.Read(n)
				if err != nil {
					return nil // the scan tells of it
				}
				line, _, _ := strings.Cut(string(data[:min(len(data), 80)]), "\n")
				id, _ = gitpack.ParseID(strings.TrimPrefix(line, "object "))
			default:
				return nil
			}
		}
		return nil
	})
	slices.Sort(out)
	return out, err
}

// present gives those of the ids that are commits of the repository.
func present(repo *gitpack.Repo, ids []string) []string {
	var out []string
	for _, s := range ids {
		id, ok := gitpack.ParseID(s)
		if !ok {
			continue
		}
		n := repo.Find(id)
		if n != gitpack.None && repo.Type(n) == gitpack.Commit {
			out = append(out, s)
		}
	}
	return out
}
