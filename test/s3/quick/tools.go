//go:build tools

// Package quick pins a small object store that builds in seconds, for a first look. It takes any
// signature, so tests of credentials run against MinIO instead.
package quick

import _ "github.com/johannesboyne/gofakes3/cmd/gofakes3"
