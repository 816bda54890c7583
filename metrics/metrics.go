// Package metrics counts.
package metrics
