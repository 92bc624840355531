package kms

import (
	"testing"

	"gocloud.dev/secrets"
)

func TestSchemesAreRegistered(t *testing.T) {
	t.Parallel()
	for _, scheme := range []string{"awskms", "gcpkms", "azurekeyvault"} {
		if !secrets.DefaultURLMux().ValidKeeperScheme(scheme) {
			t.Errorf("%s:// is not registered", scheme)
		}
	}
}
