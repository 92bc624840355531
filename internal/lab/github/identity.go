package github

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v4"
)

// identify says who a request comes from, or with which message it is refused.
func (s *Server) identify(r *http.Request) (caller, string) {
	header := r.Header.Get("Authorization")
	if header == "" {
		return caller{kind: "none"}, ""
	}
	scheme, value, _ := strings.Cut(header, " ")
	value = strings.TrimSpace(value)
	switch strings.ToLower(scheme) {
	case "bearer", "token":
	case "basic":
		raw, err := base64.StdEncoding.DecodeString(value)
		_, password, ok := strings.Cut(string(raw), ":")
		if err != nil || !ok {
			return caller{}, "Bad credentials"
		}
		value = password
	default:
		return caller{}, "Bad credentials"
	}
	if strings.Count(value, ".") == 2 && !strings.HasPrefix(value, kindServer+"_") {
		app, message := s.verifyJWT(value)
		return caller{kind: "app", app: app}, message
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tokens[value]
	if t == nil || !t.alive(s.now()) || t.kind == KindAppRefresh {
		return caller{}, "Bad credentials"
	}
	t.uses++
	if t.install == nil {
		return caller{kind: "user", tok: t}, ""
	}
	if !t.install.Suspended.IsZero() {
		return caller{}, "This installation has been suspended"
	}
	return caller{kind: "installation", tok: t}, ""
}

// verifyJWT checks an App's token as GitHub does: RS256 by the App's own key,
// iat not in the future, exp at most ten minutes ahead.
// Source: docs.github.com, generating a JSON Web Token for a GitHub App.
func (s *Server) verifyJWT(value string) (*App, string) {
	const undecodable = "A JSON web token could not be decoded"
	claims := jwt.MapClaims{}
	parser := jwt.NewParser(jwt.WithValidMethods([]string{"RS256"}), jwt.WithoutClaimsValidation())
	var app *App
	_, err := parser.ParseWithClaims(value, claims, func(*jwt.Token) (any, error) {
		app = s.appByIssuer(fmt.Sprint(claims["iss"]))
		if f, ok := claims["iss"].(float64); ok {
			app = s.appByIssuer(strconv.FormatInt(int64(f), 10))
		}
		if app == nil {
			return nil, jwt.ErrTokenInvalidIssuer
		}
		return &app.key.PublicKey, nil
	})
	if err != nil && app == nil {
		return nil, "Integration not found"
	}
	if err != nil {
		return nil, undecodable
	}
	iat, okIat := claims["iat"].(float64)
	exp, okExp := claims["exp"].(float64)
	now := s.now()
	switch {
	case !okIat:
		return nil, "Missing 'issued at' claim ('iat') in assertion"
	case !okExp:
		return nil, "Missing 'expiration' claim ('exp') in assertion"
	case iat != float64(int64(iat)) || time.Unix(int64(iat), 0).After(now):
		return nil, "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued"
	case !time.Unix(int64(exp), 0).After(now):
		return nil, "'Expiration time' claim ('exp') must be a numeric value representing the future time at which the assertion expires"
	case time.Unix(int64(exp), 0).After(now.Add(10 * time.Minute)):
		return nil, "'Expiration time' claim ('exp') is too far in the future"
	}
	return app, ""
}

func (s *Server) appByIssuer(iss string) *App {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.apps {
		if iss == strconv.FormatInt(a.ID, 10) || iss == a.ClientID {
			return a
		}
	}
	return nil
}
