package rules_test

import (
	"context"
	"regexp"
	"slices"
	"strings"
	"testing"

	"stanch/scanner"
	"stanch/scanner/rules"
)

// The ways in which configurations, programs and command lines hold a secret of
// a service. SERVICE, Service and service stand for its name, VALUE for the secret.
var contexts = map[string]string{
	"env":                "SERVICE_API_KEY=VALUE",
	"env spaces":         "SERVICE_API_KEY = VALUE",
	"export":             `export SERVICE_TOKEN="VALUE"`,
	"yaml":               "service_api_key: VALUE",
	"yaml quoted":        "  service-token: 'VALUE'",
	"yaml nested":        "service:\n  url: https://x.corp.net\n  enabled: true\n  api_key: VALUE",
	"yaml next":          "service:\n    token: VALUE",
	"json":               `{"serviceApiKey": "VALUE"}`,
	"json minified":      `{"a":1,"service_token":"VALUE","b":2}`,
	"json nested":        "{\n  \"service\": {\n    \"secret\": \"VALUE\"\n  }\n}",
	"json pair":          `{"name": "SERVICE_API_KEY", "value": "VALUE"}`,
	"kubernetes env":     "        - name: SERVICE_API_KEY\n          value: \"VALUE\"",
	"compose":            "      - SERVICE_API_KEY=VALUE",
	"python":             `SERVICE_API_KEY = "VALUE"`,
	"python default":     `key = os.environ.get("SERVICE_API_KEY", "VALUE")`,
	"python call":        `client = Service(api_key="VALUE")`,
	"python dict":        `config["service"]["api_key"] = "VALUE"`,
	"python positional":  `client = service.Client("VALUE")`,
	"js const":           `const serviceApiKey = 'VALUE';`,
	"js object":          `const service = new Service({ apiKey: 'VALUE' });`,
	"js or":              "const serviceToken = process.env.SERVICE_TOKEN || 'VALUE'",
	"ts member":          "  private readonly serviceToken: string = \"VALUE\";",
	"go":                 "serviceAPIKey := \"VALUE\"",
	"go const":           "const ServiceToken = `VALUE`",
	"go struct":          "\tServiceAPIKey: \"VALUE\",",
	"java":               `private static final String SERVICE_API_KEY = "VALUE";`,
	"java call":          `service.setApiKey("VALUE");`,
	"ruby":               `Service.api_key = 'VALUE'`,
	"ruby env":           `ENV["SERVICE_API_KEY"] ||= "VALUE"`,
	"ruby hash":          `:service_api_key => "VALUE",`,
	"php":                `define('SERVICE_API_KEY', 'VALUE');`,
	"php array":          `'service' => ['key' => 'VALUE'],`,
	"csharp":             `Environment.SetEnvironmentVariable("SERVICE_API_KEY", "VALUE");`,
	"xml add":            `<add key="ServiceApiKey" value="VALUE" />`,
	"xml":                `<serviceApiKey>VALUE</serviceApiKey>`,
	"properties":         "service.api.key=VALUE",
	"ini":                "[service]\napi_key = VALUE",
	"terraform":          "variable \"service_api_key\" {\n  type    = string\n  default = \"VALUE\"\n}",
	"terraform provider": "provider \"service\" {\n  api_key = \"VALUE\"\n}",
	"tfvars":             `service_api_key = "VALUE"`,
	"option":             "mytool --service-api-key VALUE --verbose",
	"option equals":      "mytool --service-api-key=VALUE",
	"command":            "service login --token VALUE",
	"docker":             "docker run -e SERVICE_API_KEY=VALUE image:latest",
	"dockerfile":         "ENV SERVICE_API_KEY VALUE",
	"powershell":         `$env:SERVICE_API_KEY = "VALUE"`,
	"cmd":                `set SERVICE_API_KEY=VALUE`,
	"header":             `curl -H "X-Service-Token: VALUE" https://host.corp.net/`,
	"curl before":        "curl https://api.service.com/v1/items \\\n  -H \"Authorization: Bearer VALUE\"",
	"curl key":           "curl https://api.service.com/v1/items -H 'X-Api-Key: VALUE'",
	"query":              "https://api.service.com/v1/items?api_key=VALUE&limit=5",
	"prose":              "The Service API key is VALUE",
	"comment":            "# service api key: VALUE",
	"log":                "[INFO] sending request to the service API\n[DEBUG] using key = VALUE\n",
	"escaped json":       `"{\"service_api_key\":\"VALUE\"}"`,
	"secret yaml":        "stringData:\n  SERVICE_API_KEY: VALUE",
	"github actions":     "        with:\n          service-token: VALUE",
}

// service is the name under which an example of a rule stands, without the word
// for the secret; "" where the example is a notation of its own.
func service(before, after, provider string) string {
	if strings.ContainsAny(before+after, "/;\n<$%") {
		return ""
	}
	name := strings.ToLower(firstWord.FindString(before))
	for _, s := range []string{"_key", "_token", "_secret", "_api"} {
		name = strings.TrimSuffix(name, s)
	}
	if name == "" || name == "key" || name == "token" {
		name = strings.ReplaceAll(provider, "-", "_")
	}
	return name
}

var firstWord = regexp.MustCompile(`[A-Za-z0-9_-]+`)

// Secrets are found under their maker's name wherever they stand. Every rule is
// asked for in some of the places, and every place for many rules; a rule may
// want its secret in a notation of its own, so that a few misses are right.
func TestContexts(t *testing.T) {
	e, err := scanner.New(scanner.Options{})
	if err != nil {
		t.Fatal(err)
	}
	places := make([]string, 0, len(contexts))
	for name := range contexts {
		places = append(places, name)
	}
	slices.Sort(places)
	all := examples(t)
	asked, missed := map[string]int{}, map[string][]string{}
	for i, id := range ours(t) {
		k, ok := rules.Of(id, "")
		if !ok || len(all[id]) == 0 {
			continue
		}
		text, secret, at := cut(write(all[id][0], 0))
		name := service(text[:at], text[at+len(secret):], k.Provider)
		if name == "" {
			continue
		}
		fill := strings.NewReplacer("SERVICE", strings.ToUpper(name), "Service", strings.ToUpper(name[:1])+name[1:], "service", name, "VALUE", secret)
		for j := i % 6; j < len(places); j += 6 {
			found := e.Scan(context.Background(), scanner.Unit{Data: []byte(fill.Replace(contexts[places[j]]) + "\n")})
			asked[places[j]]++
			if !slices.ContainsFunc(found, func(f scanner.Finding) bool {
				return f.Provider == k.Provider && strings.Contains(f.Secret.Reveal(), secret)
			}) {
				missed[places[j]] = append(missed[places[j]], id)
			}
		}
	}
	for _, place := range places {
		if n := len(missed[place]); asked[place] < 80 || n*8 > asked[place] {
			t.Errorf("%s: %d of %d are missed: %s", place, n, asked[place], missed[place])
		}
	}
}
