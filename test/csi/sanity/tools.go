//go:build tools

// Pins the CSI sanity suite, which the script build compiles.
package tools

import _ "github.com/kubernetes-csi/csi-test/v5/cmd/csi-sanity"
