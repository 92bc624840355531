// Package kms lets keeper URLs name a key service: importing it registers
// awskms://, gcpkms:// and azurekeyvault:// for secret.OpenVault.
//
// It is apart from package secret because the scanner, which reads hostile
// bytes, uses secret values and must not link three clouds' clients. The binary
// imports it; nothing else has to.
package kms

import (
	_ "gocloud.dev/secrets/awskms"        // awskms://
	_ "gocloud.dev/secrets/azurekeyvault" // azurekeyvault://
	_ "gocloud.dev/secrets/gcpkms"        // gcpkms://
)
