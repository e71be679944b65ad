//go:build tools

// Package peers pins the clients that the benchmarks run beside ours.
package peers

import _ "github.com/rclone/rclone"
