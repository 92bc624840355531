package githubapp

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Decode checks the JSON of a payload and normalises it. It refuses a body that
// does not look like the event: the event's name is a header and not signed.
// Errors quote nothing from the body.
func Decode(event string, body []byte) (Event, error) {
	if !Handled(event) {
		return nil, fmt.Errorf("decode event: %.64q is not handled", event)
	}
	err := checkJSON(body)
	if err != nil {
		return nil, fmt.Errorf("decode %s event: %w", event, err)
	}
	var w wire
	err = json.Unmarshal(body, &w)
	if err != nil {
		return nil, fmt.Errorf("decode %s event: %s", event, describe(err))
	}
	var e Event
	switch event {
	case EventPush:
		e, err = w.push()
	case EventPublic:
		e, err = w.public()
	case EventInstallation:
		e, err = w.installation()
	case EventInstallationRepositories:
		e, err = w.installationRepositories()
	case EventSecretScanningAlert:
		e, err = w.secretScanningAlert()
	default:
		e, err = w.ping()
	}
	if err != nil {
		return nil, fmt.Errorf("decode %s event: %w", event, err)
	}
	return e, nil
}

// describe reduces a decoder's error to the field's name and the wanted type, for
// the decoder quotes what it found.
func describe(err error) string {
	var te *json.UnmarshalTypeError
	if errors.As(err, &te) {
		return fmt.Sprintf("field %s has another type than %s", keepText(te.Field, 100), te.Type)
	}
	return "is not a JSON object"
}

// wire is the union of the payloads that are handled. It names only fields that
// are wanted, so that nothing else (messages, authors, file names) is ever decoded.
// Fields that are nice to know are of lenient types; the others must be right.
type wire struct {
	Action       text               `json:"action"`
	Installation *wireInstallation  `json:"installation"`
	Repository   *wireRepository    `json:"repository"`
	Sender       wireAccount        `json:"sender"`
	Ref          *string            `json:"ref"`
	Before       *string            `json:"before"`
	After        *string            `json:"after"`
	Created      bool               `json:"created"`
	Deleted      bool               `json:"deleted"`
	Forced       bool               `json:"forced"`
	BaseRef      text               `json:"base_ref"`
	Commits      []wireCommit       `json:"commits"`
	HeadCommit   *wireCommit        `json:"head_commit"`
	Pusher       wirePusher         `json:"pusher"`
	Repositories []wireRepositoryID `json:"repositories"`
	Added        []wireRepositoryID `json:"repositories_added"`
	Removed      []wireRepositoryID `json:"repositories_removed"`
	Alert        *wireAlert         `json:"alert"`
	HookID       int64              `json:"hook_id"`
	Hook         *wireHook          `json:"hook"`
}

type wireInstallation struct {
	ID                  int64           `json:"id"`
	Account             wireAccount     `json:"account"`
	RepositorySelection text            `json:"repository_selection"`
	Permissions         map[string]text `json:"permissions"`
	Events              []text          `json:"events"`
}

type wireAccount struct {
	ID    int64 `json:"id"`
	Login text  `json:"login"`
	Type  text  `json:"type"`
}

type wireRepository struct {
	ID            int64       `json:"id"`
	Name          string      `json:"name"`
	FullName      string      `json:"full_name"`
	Owner         wireAccount `json:"owner"`
	Private       bool        `json:"private"`
	Visibility    text        `json:"visibility"`
	DefaultBranch text        `json:"default_branch"`
	PushedAt      stamp       `json:"pushed_at"`
	Fork          bool        `json:"fork"`
	Archived      bool        `json:"archived"`
}

type wireRepositoryID struct {
	ID       int64  `json:"id"`
	FullName string `json:"full_name"`
	Private  bool   `json:"private"`
}

type wireCommit struct {
	ID        string `json:"id"`
	Timestamp stamp  `json:"timestamp"`
	Distinct  bool   `json:"distinct"`
}

type wirePusher struct {
	Name text `json:"name"`
}

// wireAlert has no field for the secret: what is not decoded cannot leak.
type wireAlert struct {
	Number         int64 `json:"number"`
	SecretType     text  `json:"secret_type"`
	DisplayName    text  `json:"secret_type_display_name"`
	State          text  `json:"state"`
	Resolution     text  `json:"resolution"`
	ResolvedAt     stamp `json:"resolved_at"`
	Validity       text  `json:"validity"`
	PubliclyLeaked flag  `json:"publicly_leaked"`
	HTMLURL        text  `json:"html_url"`
	CreatedAt      stamp `json:"created_at"`
}

type wireHook struct {
	AppID  int64  `json:"app_id"`
	Events []text `json:"events"`
}

// text is a string, or "" for any other JSON.
type text string

// UnmarshalJSON implements json.Unmarshaler.
func (t *text) UnmarshalJSON(b []byte) error {
	*t = ""
	if len(b) == 0 || b[0] != '"' {
		return nil
	}
	return json.Unmarshal(b, (*string)(t))
}

// flag is a boolean, or false for any other JSON.
type flag bool

// UnmarshalJSON implements json.Unmarshaler.
func (f *flag) UnmarshalJSON(b []byte) error {
	*f = string(b) == "true"
	return nil
}

// stamp is a time as RFC 3339 or Unix seconds (GitHub uses both for pushed_at), or
// zero for any other JSON. Years beyond 9999 cannot be written as JSON again.
type stamp struct{ time.Time }

// UnmarshalJSON implements json.Unmarshaler.
func (s *stamp) UnmarshalJSON(b []byte) error {
	s.Time = time.Time{}
	if len(b) > 0 && b[0] == '"' {
		t, err := time.Parse(`"`+time.RFC3339+`"`, string(b))
		if err == nil {
			s.Time = t.UTC()
		}
	} else {
		var n int64
		err := json.Unmarshal(b, &n)
		if err == nil && n > 0 {
			s.Time = time.Unix(n, 0).UTC()
		}
	}
	if y := s.Year(); y < 0 || y > 9999 {
		s.Time = time.Time{}
	}
	return nil
}

func (w *wire) installationID() int64 {
	if w.Installation == nil {
		return 0
	}
	return w.Installation.ID
}

func (a wireAccount) account() Account {
	return Account{ID: a.ID, Login: keep(string(a.Login), loginForm()), Type: keep(string(a.Type), wordForm())}
}

func (w *wire) repository() (Repository, error) {
	r := w.Repository
	if r == nil {
		return Repository{}, errors.New("has no repository")
	}
	owner, name, ok := strings.Cut(r.FullName, "/")
	if !ok || !validOwner(owner) || !validRepo(name) || name != r.Name {
		return Repository{}, errors.New("repository has no GitHub name")
	}
	if login := string(r.Owner.Login); login != "" && !strings.EqualFold(login, owner) {
		return Repository{}, errors.New("repository has another owner than its full name says")
	}
	if r.ID <= 0 {
		return Repository{}, errors.New("repository has no id")
	}
	out := Repository{
		ID: r.ID, FullName: r.FullName, Owner: owner, Name: name, Private: r.Private,
		Visibility: string(r.Visibility), PushedAt: r.PushedAt.Time, Fork: r.Fork, Archived: r.Archived,
	}
	if b := string(r.DefaultBranch); validRef("refs/heads/" + b) {
		out.DefaultBranch = b
	}
	switch out.Visibility {
	case "public", "internal", "private":
	default:
		out.Visibility = "public"
		if r.Private {
			out.Visibility = "private"
		}
	}
	return out, nil
}

func (w *wire) push() (Event, error) {
	if w.Ref == nil || w.Before == nil || w.After == nil {
		return nil, errors.New("has no ref, before or after")
	}
	repo, err := w.repository()
	if err != nil {
		return nil, err
	}
	e := &Push{
		InstallationID: w.installationID(), Repository: repo, Ref: *w.Ref, Before: *w.Before, After: *w.After,
		Created: w.Created, Deleted: w.Deleted, Forced: w.Forced,
		Pusher: keep(string(w.Pusher.Name), loginForm()), Sender: w.Sender.account(),
	}
	if !validRef(e.Ref) {
		return nil, errors.New("ref is not a full ref name")
	}
	if !objectForm().MatchString(e.Before) || !objectForm().MatchString(e.After) {
		return nil, errors.New("before or after is not an object id")
	}
	if e.Deleted != zeroForm().MatchString(e.After) {
		return nil, errors.New("deleted and after contradict each other")
	}
	if validRef(string(w.BaseRef)) {
		e.BaseRef = string(w.BaseRef)
	}
	if w.HeadCommit != nil && objectForm().MatchString(w.HeadCommit.ID) {
		e.HeadCommit, e.HeadAt = w.HeadCommit.ID, w.HeadCommit.Timestamp.Time
	}
	for _, c := range w.Commits {
		if !objectForm().MatchString(c.ID) || zeroForm().MatchString(c.ID) {
			return nil, errors.New("commit has no object id")
		}
		e.Commits = append(e.Commits, Commit{ID: c.ID, Timestamp: c.Timestamp.Time, Distinct: c.Distinct})
	}
	e.TruncatedWhy = e.incomplete()
	e.Truncated = e.TruncatedWhy != ""
	return e, nil
}

// incomplete says how the list of commits is known not to hold all of the push.
func (e *Push) incomplete() string {
	n := len(e.Commits)
	head := e.After
	if strings.HasPrefix(e.Ref, "refs/tags/") && e.HeadCommit != "" {
		head = e.HeadCommit // After is the tag object's id where the tag is annotated
	}
	switch {
	case e.Deleted:
		return ""
	case n >= MaxListedCommits:
		return fmt.Sprintf("the payload lists at most %d commits", MaxListedCommits)
	case n > 0 && e.Commits[n-1].ID != head:
		return "the list does not end at the ref's new tip"
	case n == 0 && !e.Created && !e.Forced && e.Before != e.After:
		return "the ref moved and no commit is listed"
	}
	return ""
}

func (w *wire) public() (Event, error) {
	if w.Ref != nil || w.After != nil || w.Alert != nil || w.Action != "" {
		return nil, errors.New("looks like another event")
	}
	repo, err := w.repository()
	if err != nil {
		return nil, err
	}
	return &Public{InstallationID: w.installationID(), Repository: repo, Sender: w.Sender.account()}, nil
}

func repositoryRefs(in []wireRepositoryID) ([]RepositoryRef, error) {
	var out []RepositoryRef
	for _, r := range in {
		owner, name, ok := strings.Cut(r.FullName, "/")
		if !ok || !validOwner(owner) || !validRepo(name) || r.ID <= 0 {
			return nil, errors.New("listed repository has no id or no GitHub name")
		}
		out = append(out, RepositoryRef(r))
	}
	return out, nil
}

func words(in []text) []string {
	var out []string
	for _, s := range in {
		if w := keep(string(s), wordForm()); w != "" {
			out = append(out, w)
		}
	}
	return out
}

func (w *wire) installation() (Event, error) {
	if w.Installation == nil || w.Installation.ID <= 0 || w.Added != nil || w.Removed != nil || w.Repository != nil {
		return nil, errors.New("looks like another event")
	}
	action := keep(string(w.Action), wordForm())
	if action == "" {
		return nil, errors.New("has no action")
	}
	repos, err := repositoryRefs(w.Repositories)
	if err != nil {
		return nil, err
	}
	e := &Installation{
		Action: action, InstallationID: w.Installation.ID, Account: w.Installation.Account.account(),
		RepositorySelection: keep(string(w.Installation.RepositorySelection), wordForm()),
		Events:              words(w.Installation.Events), Repositories: repos, Sender: w.Sender.account(),
	}
	for k, v := range w.Installation.Permissions {
		if wordForm().MatchString(k) && permissionForm().MatchString(string(v)) {
			if e.Permissions == nil {
				e.Permissions = map[string]string{}
			}
			e.Permissions[k] = string(v)
		}
	}
	return e, nil
}

func (w *wire) installationRepositories() (Event, error) {
	if w.Installation == nil || w.Installation.ID <= 0 || (w.Added == nil && w.Removed == nil) {
		return nil, errors.New("looks like another event")
	}
	if w.Action != "added" && w.Action != "removed" {
		return nil, errors.New("has no action")
	}
	added, err := repositoryRefs(w.Added)
	if err != nil {
		return nil, err
	}
	removed, err := repositoryRefs(w.Removed)
	if err != nil {
		return nil, err
	}
	return &InstallationRepositories{
		Action: string(w.Action), InstallationID: w.Installation.ID, Account: w.Installation.Account.account(),
		Added: added, Removed: removed, Sender: w.Sender.account(),
	}, nil
}

func (w *wire) secretScanningAlert() (Event, error) {
	if w.Alert == nil || w.Alert.Number <= 0 || w.Alert.SecretType == "" {
		return nil, errors.New("looks like another event")
	}
	action := keep(string(w.Action), wordForm())
	if action == "" {
		return nil, errors.New("has no action")
	}
	repo, err := w.repository()
	if err != nil {
		return nil, err
	}
	a := w.Alert
	e := &SecretScanningAlert{
		Action: action, InstallationID: w.installationID(), Repository: repo, Number: a.Number,
		SecretType: keep(string(a.SecretType), wordForm()), SecretTypeDisplayName: keepText(string(a.DisplayName), 200),
		State: keep(string(a.State), wordForm()), Resolution: keep(string(a.Resolution), wordForm()),
		Validity: keep(string(a.Validity), wordForm()), PubliclyLeaked: bool(a.PubliclyLeaked),
		HTMLURL: keepURL(string(a.HTMLURL)), CreatedAt: a.CreatedAt.Time, Sender: w.Sender.account(),
	}
	if e.State == "" {
		// Webhook payloads say it by the resolution alone.
		e.State = "open"
		if e.Resolution != "" || !a.ResolvedAt.IsZero() {
			e.State = "resolved"
		}
	}
	return e, nil
}

func (w *wire) ping() (Event, error) {
	if w.HookID <= 0 || w.Ref != nil || w.Alert != nil {
		return nil, errors.New("looks like another event")
	}
	e := &Ping{HookID: w.HookID}
	if w.Hook != nil {
		e.AppID, e.Events = w.Hook.AppID, words(w.Hook.Events)
	}
	return e, nil
}
