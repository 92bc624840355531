package rules

import "strings"

// issuers are the makers of JWTs that can be told from the payload, by what its
// iss holds.
var issuers = []struct{ holds, provider, kind string }{
	{"kubernetes/serviceaccount", "kubernetes", "service_account_token"},
	{"kubernetes.default.svc", "kubernetes", "service_account_token"},
	{"container.googleapis.com", "kubernetes", "service_account_token"},
	{".eks.amazonaws.com", "kubernetes", "service_account_token"},
	{"accounts.google.com", "gcp", "id_token"},
	{".gserviceaccount.com", "gcp", "service_account_jwt"},
	{"sts.windows.net", "azure", "entra_id_token"},
	{"login.microsoftonline.com", "azure", "entra_id_token"},
	{".auth0.com", "auth0", "management_api_token"},
	{".okta.com", "okta", "oauth_access_token"},
	{".oktapreview.com", "okta", "oauth_access_token"},
	{"cognito-idp.", "aws", "cognito_token"},
	{"token.actions.githubusercontent.com", "github", "actions_oidc_token"},
	{"gitlab", "gitlab", "ci_job_jwt"},
	{"temporal.io", "temporal", "cloud_api_key"},
	{"api.zoom.us", "zoom", "oauth_access_token"},
	{"securetoken.google.com", "gcp", "firebase_id_token"},
	{".1password.com", "1password", "events_api_token"},
	{"events.1password", "1password", "events_api_token"},
	{"palantir", "palantir", "jwt"},
	{"frame.io", "frameio", "jwt"},
	{"nhost", "nhost", "jwt"},
	{"clerk.", "clerk", "session_token"},
	{"linkedin.com", "linkedin", "id_token"},
	{"atlassian", "atlassian", "jwt"},
}

// jwtKind names the maker of a JWT by what its payload says.
func jwtKind(token string) (Kind, bool) {
	c, ok := JWT(token)
	if !ok {
		return Kind{}, false
	}
	k := Kind{Part: "token"}
	if c.Issuer == "supabase" || strings.Contains(c.Issuer, ".supabase.co") || c.Issuer == "supabase-demo" {
		k.Provider, k.Kind = "supabase", "service_role_key"
		if c.Role == "anon" {
			k.Kind, k.Public = "anon_key", true
		}
		return k, true
	}
	iss := strings.ToLower(c.Issuer)
	for _, i := range issuers {
		if iss != "" && strings.Contains(iss, i.holds) {
			k.Provider, k.Kind = i.provider, i.kind
			return k, true
		}
	}
	return Kind{}, false
}
