// Package segstore keeps a queue in a directory.
package segstore
