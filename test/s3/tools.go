//go:build tools

// Package s3 pins the object store that tests and demos run against.
package s3

import _ "github.com/minio/minio"
