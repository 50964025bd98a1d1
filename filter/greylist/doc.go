// Package greylist keeps in a file who has tried to send mail before, for
// [filter.Greylist].
//
// The file is a bbolt database, which survives a crash; it belongs to one
// process at a time. Updates that come at the same time share one write to the
// disk, an attempt of somebody who is known needs none. The number of records is
// bounded, whatever strangers try, and those that have expired are removed in
// small steps. What is in the file is not needed to keep mail: if it is lost or
// damaged, remove it.
package greylist
