package mimefilter

import "github.com/sqmail/sqmail/filter"

// Lines returns how many lines of a message were looked at.
func Lines(s filter.Scanner) int { return s.(*scanner).lines }
