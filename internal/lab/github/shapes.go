package github

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// appEvents are what an App of the laboratory is subscribed to.
var appEvents = []string{"push", "public", "secret_scanning_alert"}

func itoa(n int) string { return strconv.Itoa(n) }

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func sortByID(repos []*Repo) {
	slices.SortFunc(repos, func(a, b *Repo) int { return int(a.ID - b.ID) })
}

// The functions below make JSON objects in GitHub's shapes; those of Server want s.mu.

func (s *Server) simpleUser(a *Account) map[string]any {
	api := s.url + "/users/" + a.Login
	return map[string]any{
		"login": a.Login, "id": a.ID, "node_id": nodeID("User", a.ID), "avatar_url": s.url + "/avatars/" + a.Login, "gravatar_id": "",
		"url": api, "html_url": s.url + "/" + a.Login, "followers_url": api + "/followers", "following_url": api + "/following{/other_user}",
		"gists_url": api + "/gists{/gist_id}", "starred_url": api + "/starred{/owner}{/repo}", "subscriptions_url": api + "/subscriptions",
		"organizations_url": api + "/orgs", "repos_url": api + "/repos", "events_url": api + "/events{/privacy}",
		"received_events_url": api + "/received_events", "type": a.Type, "user_view_type": "public", "site_admin": false,
	}
}

// publicUser is the answer of GET /user without the scope user.
func (s *Server) publicUser(a *Account) map[string]any {
	u := s.simpleUser(a)
	for k, v := range map[string]any{
		"name": a.Login, "company": nil, "blog": "", "location": nil, "email": nil, "hireable": nil, "bio": nil,
		"twitter_username": nil, "notification_email": nil, "public_repos": 0, "public_gists": 0, "followers": 0, "following": 0,
		"created_at": stamp(a.created), "updated_at": stamp(a.created),
	} {
		u[k] = v
	}
	return u
}

func (s *Server) orgObject(a *Account) map[string]any {
	api := s.url + "/orgs/" + a.Login
	return map[string]any{
		"login": a.Login, "id": a.ID, "node_id": nodeID("Organization", a.ID), "url": api, "repos_url": api + "/repos",
		"events_url": api + "/events", "hooks_url": api + "/hooks", "issues_url": api + "/issues",
		"members_url": api + "/members{/member}", "public_members_url": api + "/public_members{/member}",
		"avatar_url": s.url + "/avatars/" + a.Login, "description": "",
	}
}

// repoLinks are the link fields of a repository: name, then path after its URL.
const repoLinks = `forks_url /forks
keys_url /keys{/key_id}
collaborators_url /collaborators{/collaborator}
teams_url /teams
hooks_url /hooks
issue_events_url /issues/events{/number}
events_url /events
assignees_url /assignees{/user}
branches_url /branches{/branch}
tags_url /tags
blobs_url /git/blobs{/sha}
git_tags_url /git/tags{/sha}
git_refs_url /git/refs{/sha}
trees_url /git/trees{/sha}
statuses_url /statuses/{sha}
languages_url /languages
stargazers_url /stargazers
contributors_url /contributors
subscribers_url /subscribers
subscription_url /subscription
commits_url /commits{/sha}
git_commits_url /git/commits{/sha}
comments_url /comments{/number}
issue_comment_url /issues/comments{/number}
contents_url /contents/{+path}
compare_url /compare/{base}...{head}
merges_url /merges
archive_url /{archive_format}{/ref}
downloads_url /downloads
issues_url /issues{/number}
pulls_url /pulls{/number}
milestones_url /milestones{/number}
notifications_url /notifications{?since,all,participating}
labels_url /labels{/name}
releases_url /releases{/id}
deployments_url /deployments`

// repository is a repository as REST and most webhooks show it.
func (s *Server) repository(r *Repo) map[string]any {
	api, html := s.url+"/repos/"+r.FullName(), s.url+"/"+r.FullName()
	visibility := "public"
	if r.Private {
		visibility = "private"
	}
	m := map[string]any{
		"id": r.ID, "node_id": nodeID("Repository", r.ID), "name": r.Name, "full_name": r.FullName(), "private": r.Private,
		"owner": s.simpleUser(r.Owner), "html_url": html, "description": nil, "fork": false, "url": api,
		"created_at": stamp(r.created), "updated_at": stamp(r.pushed), "pushed_at": stamp(r.pushed),
		"git_url": strings.Replace(html, "http://", "git://", 1) + ".git", "ssh_url": "git@127.0.0.1:" + r.FullName() + ".git",
		"clone_url": r.CloneURL, "svn_url": html, "homepage": nil, "size": 0, "stargazers_count": 0, "watchers_count": 0,
		"language": nil, "has_issues": true, "has_projects": true, "has_downloads": true, "has_wiki": true, "has_pages": false,
		"has_discussions": false, "forks_count": 0, "mirror_url": nil, "archived": false, "disabled": false, "open_issues_count": 0,
		"license": nil, "allow_forking": true, "is_template": false, "web_commit_signoff_required": false, "topics": []string{}, "custom_properties": map[string]any{},
		"visibility": visibility, "forks": 0, "open_issues": 0, "watchers": 0, "default_branch": r.DefaultBranch,
	}
	for line := range strings.Lines(repoLinks) {
		name, path, _ := strings.Cut(strings.TrimSpace(line), " ")
		m[name] = api + path
	}
	return m
}

// fullRepository is the answer of GET /repos/{owner}/{repo}.
func (s *Server) fullRepository(r *Repo) map[string]any {
	m := s.repository(r)
	m["network_count"], m["subscribers_count"] = 0, 0
	m["permissions"] = map[string]any{"admin": false, "maintain": false, "push": false, "triage": false, "pull": true}
	if r.Owner.Type == "Organization" {
		m["organization"] = s.simpleUser(r.Owner)
	}
	return m
}

// pushRepository is a repository as the push event shows it: two times are
// numbers there, and the URL is that of the page.
func (s *Server) pushRepository(r *Repo) map[string]any {
	m := s.repository(r)
	m["created_at"], m["pushed_at"] = r.created.Unix(), r.pushed.Unix()
	m["url"], m["stargazers"], m["master_branch"] = m["html_url"], 0, r.DefaultBranch
	owner := s.simpleUser(r.Owner)
	owner["name"], owner["email"] = r.Owner.Login, r.Owner.Email
	if r.Owner.Type == "Organization" {
		owner["email"] = nil
		m["organization"] = r.Owner.Login
	}
	m["owner"] = owner
	return m
}

func briefRepos(repos []*Repo) []map[string]any {
	out := []map[string]any{}
	for _, r := range repos {
		out = append(out, map[string]any{
			"id": r.ID, "node_id": nodeID("Repository", r.ID), "name": r.Name, "full_name": r.FullName(), "private": r.Private,
		})
	}
	return out
}

func (s *Server) installation(in *Installation) map[string]any {
	selection, suspended := "all", any(nil)
	if in.Selected != nil {
		selection = "selected"
	}
	var by any
	if !in.Suspended.IsZero() {
		suspended, by = stamp(in.Suspended), s.simpleUser(in.Account)
	}
	html := s.url + "/settings/installations/" + strconv.FormatInt(in.ID, 10)
	if in.Account.Type == "Organization" {
		html = s.url + "/organizations/" + in.Account.Login + "/settings/installations/" + strconv.FormatInt(in.ID, 10)
	}
	return map[string]any{
		"id": in.ID, "client_id": in.App.ClientID, "account": s.simpleUser(in.Account), "repository_selection": selection,
		"access_tokens_url": s.url + "/app/installations/" + strconv.FormatInt(in.ID, 10) + "/access_tokens",
		"repositories_url":  s.url + "/installation/repositories", "html_url": html,
		"app_id": in.App.ID, "app_slug": in.App.Slug, "target_id": in.Account.ID, "target_type": in.Account.Type,
		"permissions": in.App.Permissions, "events": appEvents, "created_at": stamp(in.created), "updated_at": stamp(in.created),
		"single_file_name": nil, "has_multiple_single_files": false, "single_file_paths": []string{},
		"suspended_by": by, "suspended_at": suspended,
	}
}

func (s *Server) app(a *App) map[string]any {
	n := 0
	for _, in := range s.installs {
		if in.App == a {
			n++
		}
	}
	return map[string]any{
		"id": a.ID, "client_id": a.ClientID, "slug": a.Slug, "node_id": nodeID("App", a.ID), "owner": s.simpleUser(a.owner),
		"name": a.Slug, "description": "", "external_url": s.url, "html_url": s.url + "/apps/" + a.Slug,
		"created_at": stamp(a.created), "updated_at": stamp(a.created), "permissions": a.Permissions, "events": appEvents,
		"installations_count": n,
	}
}
