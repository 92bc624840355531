package structured

import (
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// Made-up secrets, put together so that no scanner takes this file for a leak.
var (
	pw  = "q7" + "Xv9!kLm2" + "Zr"
	pw2 = "Wn4" + "tB8yHc3" + "sKd6"
	tok = "b9c2f7a1d4e8" + "4c6fa3d17e2b" + "5f8a0c94"
)

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func show(h Hit) string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(h.Parts)) {
		parts = append(parts, k+"="+h.Parts[k])
	}
	s := fmt.Sprintf("%s %s/%s %s [%s]", strings.TrimPrefix(h.Rule, "structured-"), h.Provider, h.Kind, h.Secret, strings.Join(parts, " "))
	if h.Placeholder != "" {
		s += " placeholder"
	}
	if h.Public != "" {
		s += " public"
	}
	return s
}

func TestFind(t *testing.T) {
	pem := "-----BEGIN " + "PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\n-----END " + "PRIVATE KEY-----\n"
	cert := "-----BEGIN CERTIFICATE-----\nMIIDdzCCAl+gAwIBAgIEAgAAuTANBgkq\n-----END CERTIFICATE-----\n"
	for _, c := range []struct {
		name, path, text string
		want             []string
	}{
		// URLs
		{"postgres", "a.go", `db := "postgres://app:` + pw + `@db.corp.io:5432/sales?sslmode=on"`, []string{"url-password postgres/password " + pw + " [database=sales host=db.corp.io port=5432 scheme=postgres user=app]"}},
		{"redis", "a.rb", "redis://:" + pw2 + "@cache.corp.io/0", []string{"url-password redis/password " + pw2 + " [database=0 host=cache.corp.io scheme=redis]"}},
		{"mongodb+srv", "a", "mongodb+srv://u:" + pw2 + "@c0.ab1.mongodb.net/x", []string{"url-password mongodb/password " + pw2 + " [database=x host=c0.ab1.mongodb.net scheme=mongodb+srv user=u]"}},
		{"escaped", "a", "amqps://u:a%40" + pw2 + "@mq.corp.io", []string{"url-password rabbitmq/password a@" + pw2 + " [host=mq.corp.io scheme=amqps user=u]"}},
		{"at sign in the password", "a", "mysql://u:ab@" + pw2 + "@h.corp.io/x", []string{"url-password mysql/password ab@" + pw2 + " [database=x host=h.corp.io scheme=mysql user=u]"}},
		{"git host", "a.sh", "git clone https://bob:" + pw2 + "@github.com/o/r.git", []string{"url-password github/password " + pw2 + " [host=github.com scheme=https user=bob]"}},
		{"token alone", "a.sh", "https://" + tok + "@git.corp.io/o/r", []string{"url-password /token " + tok + " [host=git.corp.io scheme=https]"}},
		{"token as the user", "a.sh", "https://" + tok + ":x-oauth-basic@git.corp.io/o/r", []string{"url-password /token " + tok + " [host=git.corp.io scheme=https]"}},
		{"sentry", "a.js", "https://" + tok + "@o1.ingest.sentry.io/12", []string{"url-password /token " + tok + " [host=o1.ingest.sentry.io scheme=https] public"}},
		{"word", "a", "postgres://user:password@localhost/db", []string{"url-password postgres/password password [database=db host=localhost scheme=postgres user=user] placeholder"}},
		{"example host", "a", "https://u:" + pw2 + "@www.example.com/", []string{"url-password /password " + pw2 + " [host=www.example.com scheme=https user=u] placeholder"}},
		{"user's name", "a", "mysql://Chicken9:chicken9@h.corp.io", []string{"url-password mysql/password chicken9 [host=h.corp.io scheme=mysql user=Chicken9] placeholder"}},
		{"no URLs with passwords", "a", "https://x.io/@scope/pkg http://u@h.io mailto:bob@x.io git@github.com:o/r.git https://h.io:80/a@b ${S}://${U}:${P}@${H} http://%s:%s@%s https://<u>:<p>@h.io " +
			"http://u:$PASS@h.io http://u:{{ .P }}@h.io ://[^:]+:[^@]+@h https://h.io/a:b@c postgres://u:${PW}@h.io http://u:@h.io", nil},
		{"go", "a.go", `sql.Open("mysql", "root:` + pw2 + `@tcp(10.1.2.3:3306)/db")`, []string{"connection-string mysql/password " + pw2 + " [host=10.1.2.3 port=3306 user=root]"}},
		{"oracle", "a.java", `"jdbc:oracle:thin:scott/` + pw2 + `@//ora.corp.io:1521/x"`, []string{"connection-string oracle-database/password " + pw2 + " [host=ora.corp.io port=1521 user=scott]"}},
		// Connection strings
		{"ado", "a.cs", `"Server=tcp:s1.database.windows.net,1433;Initial Catalog=d;User ID=adm;Password=` + pw2 + `;Encrypt=True"`, []string{"connection-string sqlserver/password " + pw2 + " [database=d host=tcp:s1.database.windows.net user=adm]"}},
		{"ado, password last", "a.cs", `"Data Source=s1;Uid=adm;Pwd=` + pw2 + `"`, []string{"connection-string sqlserver/password " + pw2 + " [host=s1 user=adm]"}},
		{"libpq", "a.py", `psycopg2.connect("host=db.corp.io dbname=x user=bob password=` + pw2 + `")`, []string{"connection-string postgres/password " + pw2 + " [database=x host=db.corp.io user=bob]"}},
		{"jdbc", "a.java", `"jdbc:mysql://db.corp.io:3306/x?user=bob&password=` + pw2 + `&useSSL=false"`, []string{"connection-string mysql/password " + pw2 + " [host=db.corp.io port=3306 user=bob]"}},
		{"arguments are no strings", "a.py", `connect(host=h, user=u, password=self.password)` + "\n" + `f(user="a", password=get_pw())`, nil},
		// Headers and commands
		{"basic", "a.py", `headers = {"Authorization": "Basic ` + b64("bob:"+pw2) + `"}`, []string{"basic-authorization /password " + pw2 + " [user=bob]"}},
		{"basic of JSON", "a.md", `Authorization: Basic ` + b64(`{"typ":"JWT"}`), nil},
		{"basic in prose", "a.md", "uses Basic authentication, a basic understanding", nil},
		{"bearer", "a.sh", "Authorization: Bearer " + tok, []string{"authorization-header /bearer_token " + tok + " []"}},
		{"bearer elsewhere", "a.sh", "the ring bearer " + tok, nil},
		{"scheme of its own", "a.http", "Authorization: ApiKey " + tok, []string{"authorization-header /authorization_header " + tok + " []"}},
		{"sshpass", "a.sh", "sshpass -p '" + pw2 + "' ssh root@h", []string{"command-password ssh/password " + pw2 + " []"}},
		{"mysql", "a.sh", "mysql -uroot -p" + pw2 + " -h db", []string{"command-password mysql/password " + pw2 + " []"}},
		{"option", "a.sh", "tool --db-password " + pw2 + " --x", []string{"command-password /password " + pw2 + " []"}},
		{"option without value", "a.sh", "tool --password $PW --password --password <pw> --password string", nil},
		{"PowerShell", "a.ps1", `ConvertTo-SecureString "` + pw + `" -AsPlainText -Force`, []string{"command-password /password " + pw + " []"}},
		{"SQL", "a.sql", "CREATE USER 'bob'@'%' IDENTIFIED BY '" + pw2 + "';\nCREATE ROLE ann WITH LOGIN PASSWORD '" + pw + "';\nALTER USER x WITH PASSWORD '" + pw2 + "';",
			[]string{"sql-password mysql/password " + pw2 + " [user=bob]", "sql-password postgres/password " + pw + " [user=ann]", "sql-password postgres/password " + pw2 + " [user=x]"}},
		{"SQL in prose", "a.go", "// the interface, identified by 'hostConfig.NetworkMode'", nil},
		// Files
		{"netrc", ".netrc", "machine h.corp.io login bob password " + pw2 + "\nmachine api.heroku.com\n login a\n password " + tok, []string{"netrc /password " + pw2 + " [host=h.corp.io user=bob]", "netrc heroku/password " + tok + " [host=api.heroku.com user=a]"}},
		{"pgpass", "home/.pgpass", "#x\ndb.corp.io:5432:*:bob:a\\:" + pw2 + "\n", []string{"pgpass postgres/password a:" + pw2 + " [database=* host=db.corp.io port=5432 user=bob]"}},
		{"npmrc", ".npmrc", "//npm.corp.io/x/:_authToken=" + tok + "\n//r.corp.io/:_password=" + b64(pw2) + "\n_auth = " + b64("bob:"+pw2) + "\n//a.io/:_authToken=${T}\n",
			[]string{"npmrc npm/auth_token " + tok + " [registry=npm.corp.io/x/]", "npmrc npm/password " + pw2 + " [registry=r.corp.io/]", "npmrc npm/password " + pw2 + " [user=bob]"}},
		{"pypirc", ".pypirc", "[distutils]\nindex-servers = pypi\n[pypi]\nusername: bob\npassword: " + pw2 + "\n", []string{"pypirc pypi/password " + pw2 + " [registry=https://upload.pypi.org/legacy/ section=pypi user=bob]"}},
		{"docker", "config.json", `{"auths":{"https://index.docker.io/v1/":{"auth":"` + b64("bob:"+pw2) + `"}, "ghcr.io":{}}}`, []string{"docker-auth docker/password " + pw2 + " [registry=index.docker.io user=bob]"}},
		{"dockercfg", ".dockercfg", `{"r.corp.io":{"auth":"` + b64("bob:"+pw2) + `","email":"x"}}`, []string{"docker-auth docker/password " + pw2 + " [email=x registry=r.corp.io user=bob]"}},
		{"kubeconfig", "kubeconfig", "apiVersion: v1\nkind: Config\nclusters:\n- cluster:\n    server: https://k.corp.io\n  name: c\nusers:\n- name: adm\n  user:\n    token: " + tok + "\n    client-key-data: " + b64(pem) + "\n",
			[]string{"kubeconfig kubernetes/token " + tok + " [server=https://k.corp.io user=adm]", "kubeconfig kubernetes/private_key " + pem + " [server=https://k.corp.io user=adm]"}},
		{"Secret", "s.yaml", "apiVersion: v1\ndata:\n  username: " + b64("bob") + "\n  password: " + b64(pw2) + "\n  tls.crt: " + b64(cert) + "\nkind: Secret\nmetadata:\n  name: db\n---\nkind: ConfigMap\ndata:\n  a: b\n",
			[]string{"kubernetes-secret /kubernetes_secret " + pw2 + " [key=password secret=db]", "kubernetes-secret /kubernetes_secret " + cert + " [key=tls.crt secret=db] public"}},
		{"Secret, plain", "s.yaml", "kind: Secret\nstringData:\n  conf: |\n    a = 1\n    p = " + tok + "\n  other: \"" + pw2 + "\"\n  tpl: {{ .Values.x }}\n",
			[]string{"kubernetes-secret /kubernetes_secret " + pw2 + " [key=other]"}},
		{"Secret of registries", "s.yml", "kind: Secret\ndata:\n  .dockerconfigjson: " + b64(`{"auths":{"r.corp.io":{"username":"bob","password":"`+pw2+`"}}}`) + "\n", []string{"docker-auth docker/password " + pw2 + " [registry=r.corp.io user=bob]"}},
		{"Secret in JSON", "s.json", `{"kind": "Secret", "metadata": {"name": "x"}, "data": {"p": "` + b64(pw2) + `"}}`, []string{"kubernetes-secret /kubernetes_secret " + pw2 + " [key=p secret=x]"}},
		{"Secrets of a list", "s.yaml", "kind: List\nitems:\n- kind: Secret\n  data:\n    p: " + b64(pw2) + "\n- kind: Secret\n  data:\n    q: " + b64(pw) + "\n",
			[]string{"kubernetes-secret /kubernetes_secret " + pw2 + " [key=p]", "kubernetes-secret /kubernetes_secret " + pw + " [key=q]"}},
		{"sealed and external", "s.yaml", "kind: SealedSecret\nspec:\n  encryptedData:\n    p: " + b64(pw2+tok) + "\n---\nkind: ExternalSecret\nspec:\n  data:\n  - secretKey: p\n    remoteRef:\n      key: " + b64(pw2) +
			"\n---\nkind: Secret\nsops:\n  mac: x\ndata:\n  p: " + b64(pw2) + "\n", nil},
		{"service account", "sa.json", `{"type": "service_account", "project_id": "p1", "private_key_id": "k1", "private_key": "` + strings.ReplaceAll(pem, "\n", `\n`) + `", "client_email": "a@p1.iam"}`,
			[]string{"gcp-service-account gcp/service_account_key " + pem + " [client_email=a@p1.iam private_key_id=k1 project_id=p1]"}},
		{"state", "terraform.tfstate", `{"terraform_version": "1.5", "resources": [{"mode": "managed", "type": "aws_db_instance", "name": "d", "instances": [{"attributes": {"password": "` + pw2 + `", "address": "h.corp.io", "username": "u"}}]}]}`,
			[]string{"terraform-state /terraform_value " + pw2 + " [attribute=password host=h.corp.io name=d resource=aws_db_instance user=u]"}},
		{"JWK", "k.json", `{"kty":"EC","crv":"P-256","x":"aaaa","d":"` + tok + `","kid":"1"}`, []string{"jwk /private_key " + tok + " [key_id=1 type=EC]"}},
		{"JWK, public", "k.json", `{"kty":"RSA","n":"` + tok + `","e":"AQAB"}`, nil},
		{"Tink", "k.json", `{"primaryKeyId": 1, "key": [{"keyData": {"typeUrl": "type.googleapis.com/google.crypto.tink.AesGcmKey", "value": "` + tok + `", "keyMaterialType": "SYMMETRIC"}}]}`,
			[]string{"tink-keyset /private_key " + tok + " [type=type.googleapis.com/google.crypto.tink.AesGcmKey]"}},
		{"PuTTY", "k.ppk", "PuTTY-User-Key-File-2: ssh-rsa\nEncryption: none\nComment: bob\nPublic-Lines: 1\nAAAA\nPrivate-Lines: 2\n" + tok + "\n" + tok + "\nPrivate-MAC: aa\n", []string{"putty-key /private_key " + tok + "\n" + tok + " [comment=bob]"}},
		{"Maven", "settings.xml", "<settings><servers><server><id>rel</id><username>bob</username><password>" + pw2 + "</password></server></servers></settings>", []string{"maven-server maven/password " + pw2 + " [server=rel user=bob]"}},
		// Settings
		{"env", "deploy/.env", "DB_HOST=db.corp.io\nDB_USER=bob\nDB_PASSWORD=" + pw2 + "\nAPI_KEY=" + tok + "\nexport REDIS_PASSWORD='" + pw + "'\n",
			[]string{"setting /password " + pw2 + " [host=db.corp.io name=DB_PASSWORD user=bob]", "setting /key " + tok + " [name=API_KEY]", "setting redis/password " + pw + " [name=REDIS_PASSWORD]"}},
		{"word in env", ".env", "MAIL_PASSWORD=correcthorse\n", []string{"setting /password correcthorse [name=MAIL_PASSWORD]"}},
		{"yaml", "config/database.yml", "production:\n  host: db.corp.io\n  username: bob\n  password: " + pw2 + " # x\n", []string{"setting /password " + pw2 + " [host=db.corp.io name=password user=bob]"}},
		{"properties", "application.properties", "spring.datasource.username=bob\nspring.datasource.password=" + pw2 + "\n", []string{"setting /password " + pw2 + " [name=spring.datasource.password user=bob]"}},
		{"toml", "a.toml", "[x]\nsecret_key = \"" + tok + "\"\n", []string{"setting /key " + tok + " [name=secret_key]"}},
		{"json", "appsettings.Production.json", `{"Smtp": {"Password": "` + pw2 + `"}}`, []string{"setting /password " + pw2 + " [name=Password]"}},
		{"xml", "web.config", `<add key="ApiPassword" value="` + pw2 + `" />`, []string{"setting /password " + pw2 + " [name=ApiPassword]"}},
		{"django", "app/settings.py", "SECRET_KEY = '" + tok + "'\nPASSWORD = os.environ['PW']\n", []string{"setting /key " + tok + " [name=SECRET_KEY]"}},
		{"WordPress", "wp-config.php", "define( 'DB_USER', 'bob' );\ndefine( 'DB_PASSWORD', '" + pw2 + "' );\n", []string{"setting mysql/password " + pw2 + " [name=DB_PASSWORD user=bob]"}},
		{"YAML's forms", "config.yml", "a:\n  db_password: >-\n    " + pw2 + "\n  api_key: |\r\n    " + tok + "\r\n  x_token: &t1 " + tok + "\n  y_token: *t1\n  z: {user: bob, password: " + pw2 + "}\n  secret_key: |\n  other: x\n",
			[]string{"setting /password " + pw2 + " [name=db_password]", "setting /key " + tok + " [name=api_key]", "setting /token " + tok + " [name=x_token]", "setting /password " + pw2 + " [name=password]"}},
		{"properties' forms", "a.properties", "a.password=ab\\:" + pw2 + "\nlong.secret=" + tok[:16] + "\\\n    " + tok[16:] + "\nb.api.key " + tok + "\nu.password=ab\\u003d" + pw2 + "\n",
			[]string{"setting /password ab:" + pw2 + " [name=a.password]", "setting /secret " + tok + " [name=long.secret]", "setting /key " + tok + " [name=b.api.key]", "setting /password ab=" + pw2 + " [name=u.password]"}},
		{"Dockerfile", "Dockerfile", "FROM x\nENV API_TOKEN " + tok + "\nARG DB_PASSWORD=\"" + pw2 + "\"\nRUN echo token is here\n", []string{"setting /token " + tok + " [name=API_TOKEN]", "setting /password " + pw2 + " [name=DB_PASSWORD]"}},
		{"JSON with escapes", "config.json", `{"db_password": "ab\/\u002b` + pw2 + `"}`, []string{"setting /password ab/+" + pw2 + " [name=db_password]"}},
		{"my.cnf", ".my.cnf", "[client]\nuser=root\npassword=\"" + pw2 + "\"\nhost=db.corp.io\n", []string{"setting mysql/password " + pw2 + " [host=db.corp.io name=password user=root]"}},
		{"git-credentials", ".git-credentials", "https://bob:" + pw2 + "@git.corp.io\n", []string{"url-password /password " + pw2 + " [host=git.corp.io scheme=https user=bob]"}},
		{"authinfo", ".authinfo", "machine mail.corp.io login bob port 993 password " + pw2 + "\n", []string{"netrc /password " + pw2 + " [host=mail.corp.io user=bob]"}},
		{"kubeconfig with a password", "config", "apiVersion: v1\nkind: Config\nusers:\n- name: a\n  user:\n    username: adm\n    password: " + pw2 + "\n", []string{"kubeconfig kubernetes/password " + pw2 + " [user=a]"}},
		{"curl", "a.sh", "curl -u bob:" + pw2 + " https://api.corp.io/x\ncurl --user \"ann:" + pw + "\" x\ncurl -u $U:$P https://x.io\ncurl -u bob https://x.io\n", []string{"command-password /password " + pw2 + " [host=api.corp.io user=bob]", "command-password /password " + pw + " [user=ann]"}},
		{"getConnection", "A.java", `DriverManager.getConnection("jdbc:mysql://db.corp.io:3306/x", "bob", "` + pw2 + `"); getConnection(url, user, password); getConnection("jdbc:h2:mem", "sa", "")`, []string{"connection-string mysql/password " + pw2 + " [host=db.corp.io port=3306 user=bob]"}},
		{"state's outputs", "terraform.tfstate", `{"terraform_version": "1.5", "outputs": {"db_password": {"value": "` + pw2 + `", "type": "string"}, "url": {"value": "` + tok + `", "type": "string"}}}`, []string{"terraform-state /terraform_value " + pw2 + " [output=db_password]"}},
		{"AWS' files", "a.csv", "\ufeffUser name,Password,Access key ID,Secret access key,Console login link\r\nbob," + pw2 + ",ID1," + tok + "8charsXY,https://1.signin\r\n\"ann\",,,,\r\n",
			[]string{"aws-console-password aws/console_password " + pw2 + " [url=https://1.signin user=bob]", "aws-access-key aws/secret_access_key " + tok + "8charsXY [user=bob]"}},
		{"INSERT with columns", "d.sql", "INSERT INTO `db`.settings (name, smtp_password,n) VALUES ('x', '" + pw2 + "', 1), ('it''s', 'a\\'" + pw2 + "', f(1,')')), ('x', NULL, 2), ('y', '$2y$10$" + tok + "', 3);\nINSERT INTO x (a) VALUES ('" + tok + "');",
			[]string{"sql-value smtp/database_value " + pw2 + " [column=smtp_password table=settings]", "sql-value smtp/database_value a'" + pw2 + " [column=smtp_password table=settings]"}},
		{"INSERT, columns in CREATE TABLE", "d.sql", "CREATE TABLE IF NOT EXISTS `users` (\n `id` int(11) DEFAULT '0' COMMENT 'a, (b',\n `email` varchar(9),\n `api_token` decimal(10,2),\n PRIMARY KEY (`id`)\n);\nINSERT INTO `users` VALUES (1,'bob@corp.io','" + tok + "'),\n(2,'ann@corp.io','');\n",
			[]string{"sql-value /database_value " + tok + " [column=api_token table=users user=bob@corp.io]"}},
		{"COPY", "d.sql", "COPY public.users (id, email, secret_key) FROM stdin;\n1\tbob@corp.io\t" + tok + "\n2\tann\t\\N\n\\.\nx\ty\t" + tok + "\n", []string{"sql-value /database_value " + tok + " [column=secret_key table=users user=bob@corp.io]"}},
		{"placeholder", "a.yml", "password: changeme\n", []string{"setting /password changeme [name=password] placeholder"}},
		{"references", "values.yaml", "password: ${DB_PASSWORD}\ntoken: {{ .Values.token }}\nsecret: !vault |\npassword: ENC[AES256,data:xx]\napi_key: op://v/i/f\npassword: arn:aws:secretsmanager:eu:1:secret:x\npassword: *ref\npassword: &a x\npassword: <password>\npassword: %PW%\npassword: $(PW)\n", nil},
		{"no secrets", "values.yaml", "passwordFile: /run/secrets/p1x\npassword_policy: strong99\nnext_token: " + tok + "\ncsrfToken: " + tok + "\nsecretName: my-app-secret1\nexistingSecret: app-1-secret\npublic_key: " + tok + "\ntoken_url: https://h.io/1\npasswordSecretRef: x9y8z7w6\npassword: true\n", nil},
		{"code is no file of settings", "a.py", "password = '" + pw2 + "'\n", nil},
		{"locales", "config/locales/de.yml", "password: Kennwort9\n", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			hits, whole := Find(c.path, []byte(c.text))
			if !whole {
				t.Error("something was left out")
			}
			for _, h := range hits {
				got = append(got, show(h))
				raw := c.text[h.Start:h.End]
				if h.Encoded == "" && !strings.Contains(h.Secret, "PRIVATE KEY") && !strings.Contains(raw, "%") && !strings.Contains(raw, `\`) && raw != h.Secret {
					t.Errorf("%q stands at %q", h.Secret, raw)
				}
				if h.Encoded == "base64" && h.Rule != "structured-docker-auth" && !strings.HasPrefix(h.Rule, "structured-basic") && !strings.Contains(h.Rule, "npmrc") && raw != b64(h.Secret) {
					t.Errorf("%q stands at %q", h.Secret, raw)
				}
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("\ngot  %s\nwant %s", strings.Join(got, "\n     "), strings.Join(c.want, "\n     "))
			}
		})
	}
}

func TestWhatIsLeftOutIsTold(t *testing.T) {
	for _, c := range []struct {
		name, text string
		whole      bool
	}{
		{"hits", strings.Repeat("postgres://u:"+pw2+"@db.corp.io/x\n", most+1), false},
		{"as many hits as there may be", strings.Repeat("postgres://u:"+pw2+"@db.corp.io/x\n", most), true},
		{"lines read", strings.Repeat("; pwd=", 200_000), false},
		{"entries", "kind: Secret\ndata:\n" + strings.Repeat("  a: b\n", yamlEntries), false},
		{"servers in each other", strings.Repeat("<server>", 32<<10), true},
		{"many kinds", strings.Repeat("kind: Secret\n", 20_000), true},
	} {
		_, whole := Find("a.yml", []byte(c.text))
		hits, seen := Anywhere([]byte(c.text))
		if whole != c.whole || seen.Whole() != c.whole || len(hits) > most {
			t.Errorf("%s: whole is %t, %t", c.name, whole, seen.Whole())
		}
		_, seen = Delta([]byte(c.text), nil, []Copy{})
		if seen.Whole() != c.whole {
			t.Errorf("%s: of a delta, whole is %t", c.name, seen.Whole())
		}
	}
}

func FuzzFind(f *testing.F) {
	for _, p := range pieces {
		f.Add(".env", []byte(p+p))
	}
	f.Add("a.json", []byte(`{"auths":{"h":{"auth":"`+b64("a:"+pw)+`"}},"kty":"oct","k":"`+tok+`"}`))
	f.Add("s.yaml", []byte("kind: Secret\ndata:\n- - a: |\n   x\n  p: "+b64(pw)))
	f.Fuzz(func(t *testing.T, name string, data []byte) {
		hits, seen := Anywhere(data)
		at := At(hits, name)
		found, whole := Find(name, data)
		if len(at) != len(found) && whole && seen.Whole() {
			t.Errorf("%d hits of a text whose path comes late, %d at once", len(at), len(found))
		}
		end := 0
		for _, h := range found {
			if h.Secret == "" || h.Start < end || h.End <= h.Start || h.End > len(data) || h.From > h.Start || h.To < h.End || h.From < 0 || h.To > len(data) || h.Confidence < Low || h.Confidence > High {
				t.Errorf("%+v", h)
			}
			end = h.End
		}
	})
}
