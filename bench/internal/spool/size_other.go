//go:build !unix

package spool

import "io/fs"

func allocated(info fs.FileInfo) int64 { return info.Size() }
