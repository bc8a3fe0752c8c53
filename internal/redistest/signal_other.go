//go:build !unix

package redistest

import (
	"errors"
	"os"
)

func pauseProcess(*os.Process) error {
	return errors.New("redistest: processes cannot be stopped on this system")
}

func resumeProcess(*os.Process) error { return nil }
