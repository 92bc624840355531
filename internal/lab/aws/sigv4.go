package labaws

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	algorithm     = "AWS4-HMAC-SHA256"
	amzTime       = "20060102T150405Z"
	unsigned      = "UNSIGNED-PAYLOAD"
	clockSkew     = 5 * time.Minute
	longestPresig = 7 * 24 * time.Hour
)

// signature is what a request claims about its signing.
type signature struct {
	keyID   string
	date    string // yyyymmdd of the scope
	region  string
	service string
	signed  []string
	value   string
	at      time.Time
	expires time.Duration // presigned only
	query   bool
	token   string
}

// readSignature takes the claims from the header or from a presigned URL.
func readSignature(r *http.Request) (signature, *apiError) {
	header := r.Header.Get("Authorization")
	query := r.URL.Query()
	var s signature
	var scope, signed, at string
	switch {
	case header != "":
		name, rest, ok := strings.Cut(header, " ")
		if !ok || name != algorithm {
			return s, fail(http.StatusBadRequest, "IncompleteSignature", "Authorization header is not of %s.", algorithm)
		}
		for part := range strings.SplitSeq(rest, ",") {
			k, v, _ := strings.Cut(strings.TrimSpace(part), "=")
			switch k {
			case "Credential":
				scope = v
			case "SignedHeaders":
				signed = v
			case "Signature":
				s.value = v
			}
		}
		at = r.Header.Get("X-Amz-Date")
		s.token = r.Header.Get("X-Amz-Security-Token")
	case query.Get("X-Amz-Algorithm") == algorithm:
		s.query = true
		scope, signed, s.value = query.Get("X-Amz-Credential"), query.Get("X-Amz-SignedHeaders"), query.Get("X-Amz-Signature")
		at = query.Get("X-Amz-Date")
		s.token = query.Get("X-Amz-Security-Token")
		seconds, err := strconv.Atoi(query.Get("X-Amz-Expires"))
		if err != nil {
			seconds = 900
		}
		s.expires = time.Duration(seconds) * time.Second
		if seconds < 1 || s.expires > longestPresig {
			return s, fail(http.StatusBadRequest, "IncompleteSignature", "X-Amz-Expires is out of range.")
		}
	default:
		return s, fail(http.StatusForbidden, "MissingAuthenticationToken", "Request is missing Authentication Token")
	}
	parts := strings.Split(scope, "/")
	if len(parts) != 5 || parts[4] != "aws4_request" || parts[0] == "" || s.value == "" || signed == "" {
		return s, fail(http.StatusBadRequest, "IncompleteSignature", "Credential, SignedHeaders or Signature is missing or malformed.")
	}
	s.keyID, s.date, s.region, s.service = parts[0], parts[1], parts[2], parts[3]
	s.signed = strings.Split(signed, ";")
	var err error
	s.at, err = time.Parse(amzTime, at)
	if err != nil || !strings.HasPrefix(at, s.date) {
		return s, fail(http.StatusBadRequest, "IncompleteSignature", "X-Amz-Date is missing, malformed or of another day than the credential scope.")
	}
	return s, nil
}

func wrongSignature() *apiError {
	return fail(http.StatusForbidden, "SignatureDoesNotMatch", "The request signature we calculated does not match the signature you provided. "+
		"Check your AWS Secret Access Key and signing method. Consult the service documentation for details.")
}

// check recomputes the signature with the secret.
func (s signature) check(r *http.Request, body []byte, secret string, now time.Time) *apiError {
	mismatch := wrongSignature()
	if !slices.IsSorted(s.signed) || !slices.Contains(s.signed, "host") {
		return mismatch
	}
	for name := range r.Header {
		name = strings.ToLower(name)
		if strings.HasPrefix(name, "x-amz-") && !slices.Contains(s.signed, name) {
			return mismatch
		}
	}
	sum := sha256.Sum256(body)
	hash := hex.EncodeToString(sum[:])
	if claimed := r.Header.Get("X-Amz-Content-Sha256"); claimed != "" {
		if claimed != hash && (claimed != unsigned || s.service != "s3") {
			return mismatch
		}
		hash = claimed
	} else if s.query && s.service == "s3" {
		hash = unsigned
	}
	canonical := strings.Join([]string{
		r.Method, s.canonicalPath(r.URL), canonicalQuery(r.URL, s.query), s.canonicalHeaders(r), strings.Join(s.signed, ";"), hash,
	}, "\n")
	digest := sha256.Sum256([]byte(canonical))
	scope := s.date + "/" + s.region + "/" + s.service + "/aws4_request"
	text := algorithm + "\n" + s.at.Format(amzTime) + "\n" + scope + "\n" + hex.EncodeToString(digest[:])
	key := mac([]byte("AWS4"+secret), s.date)
	for _, part := range []string{s.region, s.service, "aws4_request"} {
		key = mac(key, part)
	}
	if !hmac.Equal([]byte(hex.EncodeToString(mac(key, text))), []byte(s.value)) {
		return mismatch
	}
	return s.checkTime(now)
}

// checkTime comes after the comparison, so that an old but rightly signed
// request is told from a wrongly signed one.
func (s signature) checkTime(now time.Time) *apiError {
	early, late := s.at.After(now.Add(clockSkew)), s.at.Before(now.Add(-clockSkew))
	if s.query {
		late = now.After(s.at.Add(s.expires))
	}
	switch {
	case !early && !late:
		return nil
	case s.service == "s3" && s.query && late:
		return fail(http.StatusForbidden, "AccessDenied", "Request has expired")
	case s.service == "s3":
		return fail(http.StatusForbidden, "RequestTimeTooSkewed", "The difference between the request time and the current time is too large.")
	case early:
		return fail(http.StatusForbidden, "SignatureDoesNotMatch", "Signature not yet current: %s is still later than %s (%s + 5 min.)",
			s.at.Format(amzTime), now.UTC().Add(clockSkew).Format(amzTime), now.UTC().Format(amzTime))
	}
	return fail(http.StatusForbidden, "SignatureDoesNotMatch", "Signature expired: %s is now earlier than %s (%s - 5 min.)",
		s.at.Format(amzTime), now.UTC().Add(-clockSkew).Format(amzTime), now.UTC().Format(amzTime))
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

// canonicalPath encodes the path once for S3 and twice for everything else.
func (s signature) canonicalPath(u *url.URL) string {
	path := u.EscapedPath()
	if path == "" {
		path = "/"
	}
	if s.service == "s3" {
		return escapePath(u.Path, path)
	}
	return escape(path, true)
}

func escapePath(decoded, fallback string) string {
	if decoded == "" {
		return fallback
	}
	return escape(decoded, true)
}

// escape encodes all but RFC 3986's unreserved characters.
func escape(s string, keepSlash bool) string {
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'A' && c <= 'Z', c >= 'a' && c <= 'z', c >= '0' && c <= '9', strings.IndexByte("-._~", c) >= 0, c == '/' && keepSlash:
			b.WriteByte(c)
		default:
			b.WriteString("%" + strings.ToUpper(hex.EncodeToString([]byte{c})))
		}
	}
	return b.String()
}

func canonicalQuery(u *url.URL, presigned bool) string {
	query := u.Query()
	if presigned {
		query.Del("X-Amz-Signature")
	}
	encoded := make(map[string][]string)
	for k, values := range query {
		name := escape(k, false)
		for _, v := range values {
			encoded[name] = append(encoded[name], name+"="+escape(v, false))
		}
	}
	var pairs []string
	for _, name := range slices.Sorted(maps.Keys(encoded)) {
		slices.Sort(encoded[name])
		pairs = append(pairs, encoded[name]...)
	}
	return strings.Join(pairs, "&")
}

func (s signature) canonicalHeaders(r *http.Request) string {
	var b strings.Builder
	for _, name := range s.signed {
		var value string
		switch name {
		case "host":
			value = r.Host
		case "content-length":
			value = strconv.FormatInt(r.ContentLength, 10)
		default:
			values := r.Header.Values(name)
			trimmed := make([]string, len(values))
			for i, v := range values {
				trimmed[i] = strings.Join(strings.Fields(v), " ")
			}
			value = strings.Join(trimmed, ",")
		}
		b.WriteString(name + ":" + value + "\n")
	}
	return b.String()
}
