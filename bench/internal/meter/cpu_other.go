//go:build !unix

package meter

import "time"

func cpu() time.Duration { return 0 }
